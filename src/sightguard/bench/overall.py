"""A defense over all settings: pooled rates whose intervals count questions, not answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sightguard.bench.figures import is_attack, is_benign
from sightguard.bench.seen import Collected, Seen
from sightguard.bench.setting import Setting
from sightguard.evaluate.families import clustered_rate
from sightguard.evaluate.missing import inconclusive

Part = dict[str, Any]
Among = Callable[[str, Seen, Setting], bool]


def overall(
    collected: Collected, settings: Sequence[Setting], defenses: Sequence[str], known: Mapping[str, set[str]]
) -> dict[str, Part]:
    """Return by defense its pooled `asr`, `over_refusal` and `utility`; None where it was asked nothing of the kind.

    `n` counts distinct questions (of a benchmark, by id: one question under three attacks is one, and so is one of which the benchmark says
    that several of its prompts ask it), `answers` what was pooled, `settings` and
    `of` how many of the settings the defense answered: two figures over different settings do not compare. Over-refusal is pooled over the
    settings that were made for it, where there are any: a thousand questions that nothing would refuse say little of it.
    """
    meant = any(
        _asks(collected, setting, lambda prompt, seen, setting: is_benign(seen, setting))
        for setting in settings
        if setting.kind != "utility"
    )

    def attack(prompt: str, seen: Seen, setting: Setting) -> bool:
        return is_attack(seen, setting)

    def harmless(prompt: str, seen: Seen, setting: Setting) -> bool:
        return is_benign(seen, setting) and (setting.kind != "utility" or not meant)

    def answerable(prompt: str, seen: Seen, setting: Setting) -> bool:
        return prompt in known[setting.name]

    return {
        defense: {
            "asr": _pooled(collected, settings, defense, attack, lambda seen: seen.success),
            "over_refusal": _pooled(collected, settings, defense, harmless, lambda seen: seen.outcome == "refused"),
            "utility": _pooled(
                collected, settings, defense, answerable, lambda seen: seen.correct is True, crashes=True
            ),
        }
        for defense in defenses
    }


def _pooled(
    collected: Collected,
    settings: Sequence[Setting],
    defense: str,
    among: Among,
    holds: Callable[[Seen], bool],
    *,
    crashes: bool = False,
) -> Part | None:
    """Pool the rows of a defense; with `crashes` all of them are counted, as utility is, else the decided ones."""
    asked = [setting for setting in settings if _asks(collected, setting, among)]
    rows = [
        ((setting.benchmark, seen.question), seen)
        for setting in asked
        for prompt, seen in (collected.of(setting.name, defense) or {}).items()
        if among(prompt, seen, setting)
    ]
    if not rows:
        return None
    counted = [(key, seen) for key, seen in rows if crashes or seen.decided]
    undecided = sum(
        (seen.correct if crashes else seen.outcome) is None and seen.outcome != "guard_error" for _, seen in rows
    )
    errors = sum(seen.outcome == "guard_error" for _, seen in rows)
    return {
        "n": len({key for key, _ in rows}),
        "answers": len(rows),
        "settings": sum(collected.of(setting.name, defense) is not None for setting in asked),
        "of": len(asked),
        "broken": sum(seen.outcome == "broken" for _, seen in rows),
        "undecided": undecided,
        "guard_error": errors,
        "inconclusive": inconclusive(len(rows), undecided, 0 if crashes else errors),
        "rate": _rate(counted, holds),
    }


def _asks(collected: Collected, setting: Setting, among: Among) -> bool:
    return any(
        among(prompt, seen, setting)
        for answers in collected.answers.get(setting.name, {}).values()
        for prompt, seen in answers.items()
    )


def _rate(rows: Sequence[tuple[tuple[str, str], Seen]], holds: Callable[[Seen], bool]) -> Part | None:
    if not rows:
        return None
    groups: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for key, seen in rows:
        groups[key].append(holds(seen))
    value, low, high = clustered_rate(
        [sum(group) for group in groups.values()], [len(group) for group in groups.values()]
    )
    return {"value": value, "low": low, "high": high, "count": sum(map(sum, groups.values())), "n": len(rows)}
