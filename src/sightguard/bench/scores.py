"""Mean scores of judges that score, by defense and setting, with what has no score beside them.

An answer has no score where its judge could not decide, where a guard or the model crashed, and where no judge model was asked about it. A mean over
what is left says so where that is more than a few.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sightguard.bench.figures import is_benign
from sightguard.bench.seen import Answers, Collected, Seen
from sightguard.bench.setting import Setting
from sightguard.evaluate.missing import LIMIT

Part = dict[str, Any]
Scales = Mapping[str, Mapping[str, Any]]
"""By judge: the entries of a `sightguard.evaluate.scale.Scale`, as `measured.json` has them."""
UNKNOWN: Mapping[str, Any] = {"lowest": None, "highest": None, "says": "", "harmless": True}
RESAMPLES, CONFIDENCE, SEED = 2000, 0.95, 0
INTERVAL = f"percentile bootstrap over answers, {RESAMPLES} resamples, seed {SEED}"
_NUMBERS = 4_000_000


def scores(
    collected: Collected, settings: Sequence[Setting], defenses: Sequence[str], scales: Scales | None
) -> Part | None:
    """Return the mean scores of every judge that scores; None where none does."""
    judges = {name: {**UNKNOWN, **(scales or {}).get(name, {})} for name in _judges(collected, scales or {})}
    if not judges:
        return None
    return {
        "judges": judges,
        "interval": INTERVAL,
        "settings": {setting.name: _setting(collected, setting, defenses, judges) for setting in settings},
    }


def score_of(seen: Seen, judge: str) -> float | None:
    """Return what a judge gave an answer; a single judge's score stands without its name."""
    return seen.score if seen.scores is None else seen.scores.get(judge)


def mean(values: Collection[float]) -> Part:
    """Return `mean`, `low` and `high`; the order of the values does not matter, and of a single one there is no interval.

    Example:
        >>> mean([1.0, 1.0, 1.0]), mean([4.0])
        ({'mean': 1.0, 'low': 1.0, 'high': 1.0}, {'mean': 4.0, 'low': None, 'high': None})
    """
    n = len(values)
    if n < 2:
        return {"mean": next(iter(values), None), "low": None, "high": None}
    found, counts = np.unique(np.array(list(values), dtype=np.float64), return_counts=True)
    generator, size = np.random.default_rng(SEED), max(1, min(RESAMPLES, _NUMBERS // len(found)))
    # how often each value is drawn, a few resamples at a time: all at once could hold resamples x n numbers
    means = [
        generator.multinomial(n, counts / n, size=min(size, RESAMPLES - start)) @ found / n
        for start in range(0, RESAMPLES, size)
    ]
    middle, tail = float(counts @ found / n), (1 - CONFIDENCE) / 2
    low, high = (float(edge) for edge in np.quantile(np.concatenate(means), [tail, 1 - tail]))
    return {"mean": middle, "low": min(low, middle), "high": max(high, middle)}


def _judges(collected: Collected, scales: Scales) -> list[str]:
    every = [seen for seen in _all(collected) if seen.scores is not None or seen.score is not None]
    named = {name for seen in every for name, score in (seen.scores or {}).items() if score is not None}
    single = [" or ".join(collected.judges)] if any(seen.scores is None for seen in every) else []
    return list(dict.fromkeys([*scales, *sorted(named), *single]))


def _all(collected: Collected) -> Iterable[Seen]:
    return (seen for table in collected.answers.values() for answers in table.values() for seen in answers.values())


def _setting(collected: Collected, setting: Setting, defenses: Sequence[str], judges: Scales) -> Part:
    table = collected.answers[setting.name]
    kinds = sorted(
        {seen.category for answers in table.values() for seen in answers.values() if seen.category is not None}
    )
    return {
        "defenses": _parts(table, setting, defenses, judges),
        "by_category": {kind: _parts(_only(table, kind), setting, defenses, judges) for kind in kinds},
    }


def _only(table: Mapping[str, Answers], kind: str) -> dict[str, Answers]:
    return {
        name: {prompt: seen for prompt, seen in answers.items() if seen.category == kind}
        for name, answers in table.items()
    }


def _parts(table: Mapping[str, Answers], setting: Setting, defenses: Sequence[str], judges: Scales) -> Part:
    """Return by defense and judge what it scored; null for a defense that was not asked."""
    return {
        name: {judge: _part(table[name].values(), setting, judge, scale) for judge, scale in judges.items()}
        if name in table
        else None
        for name in defenses
    }


def _part(answers: Iterable[Seen], setting: Setting, judge: str, scale: Mapping[str, Any]) -> Part | None:
    rows = [seen for seen in answers if scale["harmless"] or not is_benign(seen, setting)]
    if not rows:
        return None
    values = [value for seen in rows if (value := score_of(seen, judge)) is not None]
    told = {
        "prompts": len(rows),
        "n": len(values),
        "undecided": sum(_is_open(seen, judge) for seen in rows),
        "guard_error": sum(seen.outcome == "guard_error" for seen in rows),
    }
    told["unscored"] = told["prompts"] - told["n"] - told["undecided"] - told["guard_error"]
    return {**told, **mean(values), "inconclusive": _inconclusive(told)}


def _is_open(seen: Seen, judge: str) -> bool:
    """Return whether the judge was to score an answer and could not."""
    if seen.scores is None:
        return seen.outcome is None and seen.score is None
    return judge in seen.scores and seen.scores[judge] is None


def _inconclusive(told: Mapping[str, int]) -> str | None:
    """Return why a mean says too little: which answers have no score is no accident."""
    without = told["prompts"] - told["n"]
    if without <= LIMIT * told["prompts"]:
        return None
    return (
        f"inconclusive: {without} of {told['prompts']} answers have no score ({told['undecided']} undecided, {told['unscored']} that the judge was "
        f"not asked about, {told['guard_error']} guard error{'' if told['guard_error'] == 1 else 's'}), more than {100 * LIMIT:g}%"
    )
