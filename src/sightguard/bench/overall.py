"""A defense over all settings: pooled rates whose intervals count questions, not answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sightguard.bench.figures import is_attack, is_benign
from sightguard.bench.metrics import METRICS, Metric
from sightguard.bench.seen import Collected, Seen
from sightguard.bench.setting import Setting
from sightguard.evaluate.families import clustered_rate

Part = dict[str, Any]
Among = Callable[[str, Seen, Setting], bool]
"""By the digest of a prompt, an answer to it, and its setting: whether a rate is about it."""
Question = tuple[str, str]
"""A benchmark and an id in it."""


def overall(
    collected: Collected, settings: Sequence[Setting], defenses: Sequence[str], known: Mapping[str, set[str]]
) -> dict[str, Part]:
    """Return by defense its pooled `asr`, `over_refusal` and `utility`; None where it was asked nothing of the kind.

    `n` counts distinct questions (of a benchmark, by id: one question under three attacks is one, and so is one of which the benchmark says
    that several of its prompts ask it), `answers` what was pooled, `settings` and `of` how many of the settings the defense answered: two
    figures over different settings do not compare.
    """
    among = pools(collected, settings, known)
    return {
        defense: {metric.name: _pooled(collected, settings, defense, among[metric.name], metric) for metric in METRICS}
        for defense in defenses
    }


def pools(collected: Collected, settings: Sequence[Setting], known: Mapping[str, set[str]]) -> dict[str, Among]:
    """Return by metric which answers of a run are pooled.

    Over-refusal is pooled over the settings that were made for it, where there are any: a thousand questions that nothing would refuse say
    little of it.
    """
    meant = any(
        _asks(collected, setting, lambda prompt, seen, setting: is_benign(seen, setting))
        for setting in settings
        if setting.kind != "utility"
    )
    return {
        "asr": lambda prompt, seen, setting: is_attack(seen, setting),
        "over_refusal": lambda prompt, seen, setting: (
            is_benign(seen, setting) and (setting.kind != "utility" or not meant)
        ),
        "utility": lambda prompt, seen, setting: prompt in known[setting.name],
    }


def _pooled(
    collected: Collected, settings: Sequence[Setting], defense: str, among: Among, metric: Metric
) -> Part | None:
    asked = [setting for setting in settings if _asks(collected, setting, among)]
    rows: list[tuple[Question, Seen]] = [
        ((setting.benchmark, seen.question), seen)
        for setting in asked
        for prompt, seen in (collected.of(setting.name, defense) or {}).items()
        if among(prompt, seen, setting)
    ]
    if not rows:
        return None
    errors = sum(seen.outcome == "guard_error" for _, seen in rows)
    return {
        "n": len({key for key, _ in rows}),
        "answers": len(rows),
        "settings": sum(collected.of(setting.name, defense) is not None for setting in asked),
        "of": len(asked),
        "broken": sum(seen.outcome == "broken" for _, seen in rows),
        "undecided": sum(not metric.counts(seen) and seen.outcome != "guard_error" for _, seen in rows),
        "guard_error": errors,
        "inconclusive": metric.inconclusive([seen for _, seen in rows]),
        "rate": question_rate([(key, metric.holds(seen)) for key, seen in rows if metric.counts(seen)]),
    }


def _asks(collected: Collected, setting: Setting, among: Among) -> bool:
    return any(
        among(prompt, seen, setting)
        for answers in collected.answers.get(setting.name, {}).values()
        for prompt, seen in answers.items()
    )


def question_rate(rows: Sequence[tuple[Question, bool]]) -> Part | None:
    """Return a share of answers with its counts and an interval that counts questions; None over nothing."""
    if not rows:
        return None
    groups: dict[Question, list[bool]] = defaultdict(list)
    for key, holds in rows:
        groups[key].append(holds)
    value, low, high = clustered_rate(
        [sum(group) for group in groups.values()], [len(group) for group in groups.values()]
    )
    return {"value": value, "low": low, "high": high, "count": sum(map(sum, groups.values())), "n": len(rows)}
