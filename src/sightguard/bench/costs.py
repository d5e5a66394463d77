"""What a defense costs against the undefended model in the same run, and how often it stepped in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from math import fsum
from typing import Any

from sightguard.bench.figures import is_attack, is_benign
from sightguard.bench.overall import question_rate
from sightguard.bench.seen import Collected, Seen
from sightguard.bench.setting import Setting

Part = dict[str, Any]
Rows = Sequence[tuple[Setting, Seen]]
MEASURED = ("prefill_ratio", "prefill_range", "decode_ratio", "decode_range", "n_decode", "note")
"""Figures of a clock of their own (`sightguard.bench.timing`), where the run took them: answers of the run tell seconds and tokens alone."""


def cost(
    collected: Collected, settings: Sequence[Setting], defense: str, baseline: str, measured: Mapping[str, Any]
) -> Part:
    """Return the ratios of a defense; 1 is as the undefended model, None where there is nothing to tell.

    `seconds_ratio` is over all prompts that both answered: a refusal is short, so a defense that refuses looks cheap.
    `seconds_per_token_ratio` is over the prompts on which the model itself spoke under both.
    """
    pairs = [
        (ours[prompt], theirs[prompt])
        for setting in settings
        if (ours := collected.of(setting.name, defense)) is not None
        and (theirs := collected.of(setting.name, baseline)) is not None
        for prompt in sorted(ours.keys() & theirs.keys())
    ]
    timed = [pair for pair in pairs if all(seen.seconds > 0 and seen.outcome != "guard_error" for seen in pair)]
    spoken = [pair for pair in timed if all(seen.refused_by is None and seen.answer_tokens > 0 for seen in pair)]
    mine = [seen for setting in settings for seen in (collected.of(setting.name, defense) or {}).values()]
    answered = [seen.answer_tokens for seen in mine if seen.outcome != "guard_error"]
    return {
        **{name: measured.get(name) for name in MEASURED},
        "seconds_ratio": _ratio(*(_seconds(timed, side) for side in (0, 1))),
        "seconds_per_token_ratio": _ratio(*(_per_token(spoken, side) for side in (0, 1))),
        "answer_tokens": sum(answered) / len(answered) if answered else None,
        "n": len(timed),
        "n_spoken": len(spoken),
    }


def gate(collected: Collected, settings: Sequence[Setting], defense: str) -> Part | None:
    """Return how often a defense acted, over all settings and in each; None where no answer tells.

    `fired` is None, and `settings` is empty, where no answer says whether the defense acted: nothing decides in it, or the run was made before
    answers told. In `harmful` and `benign` a guard answered in the model's place; which one, and by which rule, say `by` and `rules`.
    """
    rows = [(setting, seen) for setting in settings for seen in (collected.of(setting.name, defense) or {}).values()]
    by, rules = (
        Counter(name for _, seen in rows if (name := getattr(seen, field))) for field in ("refused_by", "rule")
    )
    gated = has_gate([seen for _, seen in rows])
    if not by and not rules and not gated:
        return None
    return {
        **_sides(rows, _stepped_in),
        "by": dict(sorted(by.items())),
        "rules": dict(sorted(rules.items())),
        "fired": _sides(rows, fired) if gated else None,
        "settings": {
            setting.name: _sides([(setting, seen) for seen in answers.values()], fired)
            for setting in settings
            if gated and (answers := collected.of(setting.name, defense)) is not None
        },
    }


def has_gate(rows: Collection[Seen]) -> bool:
    """Return whether a defense tells of any prompt whether it acted on it."""
    return any(seen.gate is not None or seen.refused_by is not None for seen in rows)


def fired(rows: Rows) -> Part | None:
    """Return the share of prompts on which a defense that has a gate acted; what crashed has not decided."""
    told = [(setting, seen) for setting, seen in rows if seen.outcome != "guard_error"]
    return question_rate([((setting.benchmark, seen.question), seen.fired) for setting, seen in told])


def _sides(rows: Rows, share: Callable[[Rows], Part | None]) -> Part:
    return {
        "harmful": share([(setting, seen) for setting, seen in rows if is_attack(seen, setting)]),
        "benign": share([(setting, seen) for setting, seen in rows if is_benign(seen, setting)]),
    }


def _stepped_in(rows: Rows) -> Part | None:
    return question_rate([((setting.benchmark, seen.question), seen.refused_by is not None) for setting, seen in rows])


def _seconds(pairs: Sequence[tuple[Seen, Seen]], side: int) -> float:
    return fsum(pair[side].seconds for pair in pairs)


def _per_token(pairs: Sequence[tuple[Seen, Seen]], side: int) -> float:
    return _seconds(pairs, side) / sum(pair[side].answer_tokens for pair in pairs) if pairs else 0.0


def _ratio(ours: float, theirs: float) -> float | None:
    return ours / theirs if theirs > 0 else None
