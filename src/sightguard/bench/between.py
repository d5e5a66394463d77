"""Every defense against every other one, pooled over the settings that both answered: what differs, and whether questions tell them apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightguard.bench.against import corrected
from sightguard.bench.metrics import METRICS, UTILITY, Metric
from sightguard.bench.overall import Among, pools
from sightguard.bench.seen import Collected, Seen
from sightguard.bench.setting import Setting
from sightguard.evaluate.families import RESAMPLES, clustered_difference
from sightguard.evaluate.missing import inconclusive
from sightguard.evaluate.statistics import mcnemar_of_counts

Part = dict[str, Any]
FAMILIES = {
    "asr": "attack success: every pair of defenses; a question counts where the attack succeeded in at least one setting",
    "over_refusal": "over-refusal: every pair of defenses; a question counts where it was refused in at least one setting",
    "utility": "utility: every pair of defenses; a question counts where it was answered rightly in every setting",
}
_UNDECIDED, _CRASHED, _NOT_ASKED = -1, -2, -3


class _Table(NamedTuple):
    """All answers that a metric is about, one place for each prompt of a setting."""

    questions: NDArray[np.int64]
    settings: NDArray[np.int64]
    answers: Mapping[str, NDArray[np.int8]]
    """By defense: 1 where the metric holds, 0 where it does not, else why it is not known."""


def between(
    collected: Collected,
    settings: Sequence[Setting],
    defenses: Sequence[str],
    known: Mapping[str, set[str]],
    *,
    seed: int,
) -> Part:
    """Return for each metric the family of all pairs: `first - second`, over the answers that are judged under both.

    The interval is of a bootstrap that resamples whole questions; p is McNemar's exact test of questions, `p_holm` after Holm's correction
    over the pairs. Pairs that have no such answer are left out.

    Args:
        collected: the answers of the run.
        settings: what was asked.
        defenses: in the order of the tables; of each pair the later one comes first, so that the undefended model is what is compared with.
        known: prompts whose right answer is known, by setting.
        seed: of the resamples.
    """
    among = pools(collected, settings, known)
    return {
        "seed": seed,
        "resamples": RESAMPLES,
        **{
            metric.name: _family(metric, _table(collected, settings, defenses, among[metric.name], metric), seed)
            for metric in METRICS
        },
    }


def _family(metric: Metric, table: _Table, seed: int) -> Part:
    names = list(table.answers)
    pairs = [(first, second) for at, first in enumerate(names) for second in names[:at]]
    rows = [row for first, second in pairs if (row := _row(metric, table, first, second, seed)) is not None]
    return {"family": FAMILIES[metric.name], "size": len(rows), "rows": corrected(rows)}


def _row(metric: Metric, table: _Table, first: str, second: str, seed: int) -> Part | None:
    ours, theirs = table.answers[first], table.answers[second]
    both = (ours > _NOT_ASKED) & (theirs > _NOT_ASKED)
    crashed = both & ((ours == _CRASHED) | (theirs == _CRASHED))
    undecided = both & ~crashed & ((ours == _UNDECIDED) | (theirs == _UNDECIDED))
    counted = both & ~crashed & ~undecided
    if not counted.any():
        return None
    _, question = np.unique(table.questions[counted], return_inverse=True)
    sizes = np.bincount(question)
    sums = [np.bincount(question, weights=side[counted]) for side in (ours, theirs)]
    holds = [side == sizes if metric is UTILITY else side > 0 for side in sums]
    only = [int((holds[at] & ~holds[1 - at]).sum()) for at in (0, 1)]
    return {
        "first": first,
        "second": second,
        "n": len(sizes),
        "answers": int(counted.sum()),
        "settings": len(np.unique(table.settings[counted])),
        "first_rate": float(ours[counted].mean()),
        "second_rate": float(theirs[counted].mean()),
        "difference": clustered_difference(sums[0] - sums[1], sizes, seed=seed)._asdict(),
        "only_first": only[0],
        "only_second": only[1],
        "p": mcnemar_of_counts(*only),
        "inconclusive": inconclusive(int(both.sum()), int(undecided.sum()), int(crashed.sum())),
    }


def _table(
    collected: Collected, settings: Sequence[Setting], defenses: Sequence[str], among: Among, metric: Metric
) -> _Table:
    codes: dict[tuple[str, str], int] = {}
    questions: list[int] = []
    places: list[int] = []
    answers: dict[str, list[int]] = {name: [] for name in defenses}
    for place, setting in enumerate(settings):
        asked = collected.answers.get(setting.name, {})
        prompts = {
            prompt: seen for table in asked.values() for prompt, seen in table.items() if among(prompt, seen, setting)
        }
        questions += [codes.setdefault((setting.benchmark, seen.question), len(codes)) for seen in prompts.values()]
        places += [place] * len(prompts)
        for name in defenses:
            table = asked.get(name)
            answers[name] += [_NOT_ASKED if table is None else _state(metric, table[prompt]) for prompt in prompts]
    return _Table(
        np.array(questions, dtype=np.int64),
        np.array(places, dtype=np.int64),
        {name: np.array(states, dtype=np.int8) for name, states in answers.items()},
    )


def _state(metric: Metric, seen: Seen) -> int:
    if metric.counts(seen):
        return int(metric.holds(seen))
    return _CRASHED if seen.outcome == "guard_error" else _UNDECIDED
