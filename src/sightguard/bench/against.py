"""Each defense against the undefended model on the same prompts: paired differences, Holm over the family, non-inferiority of utility."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sightguard.bench.figures import is_attack, is_benign
from sightguard.bench.metrics import ASR, OVER_REFUSAL, UTILITY, Metric
from sightguard.bench.seen import Answers, Collected, Seen
from sightguard.bench.setting import Setting
from sightguard.evaluate.differences import non_inferior, paired_difference
from sightguard.evaluate.families import holm
from sightguard.evaluate.statistics import mcnemar_of_counts

Part = dict[str, Any]
TAIL = 0.025
"""One-sided: what an interval of 95% leaves on either side."""


def tests(collected: Collected, settings: Sequence[Setting], defenses: Sequence[str], baseline: str) -> Part:
    """Return the two families of tests, `asr` and `over_refusal`: every defense x setting against `baseline`, Holm within the family."""
    return {
        "asr": _family(
            "attack success: every defense x setting with harmful prompts, against the undefended model",
            _rows(collected, settings, defenses, baseline, is_attack, ASR),
        ),
        "over_refusal": _family(
            "over-refusal: every defense x setting with harmless prompts, against the undefended model",
            _rows(collected, settings, defenses, baseline, is_benign, OVER_REFUSAL),
        ),
    }


def non_inferiority(
    collected: Collected,
    settings: Sequence[Setting],
    defenses: Sequence[str],
    baseline: str,
    known: Mapping[str, set[str]],
    margin: float,
) -> list[Part]:
    """Return for each defense x setting with known answers whether it gives at most `margin` fewer right ones than `baseline`.

    `call` is after Holm's correction over all of them, in either direction; `call_alone` is of the interval by itself.
    """
    rows: list[Part] = []
    for setting, defense, theirs, ours in _pairs(collected, settings, defenses, baseline):
        prompts = known[setting.name] & ours.keys() & theirs.keys()
        first, second = (counted({prompt: side[prompt] for prompt in prompts}, UTILITY) for side in (ours, theirs))
        if first.keys() & second.keys():
            told = paired(first, second)
            found = non_inferior(told["only_first"], told["only_second"], told["n"], margin=margin)
            rows.append(
                {
                    "setting": setting.name,
                    "defense": defense,
                    "n": told["n"],
                    "undecided": len(prompts) - told["n"],
                    "only_first": told["only_first"],
                    "only_second": told["only_second"],
                    **found._asdict(),
                    "call_alone": found.call,
                    "inconclusive": _inconclusive(ours, theirs, prompts, UTILITY),
                }
            )
    return _called(corrected(rows))


def corrected(rows: Sequence[Part]) -> list[Part]:
    """Return the rows of a family with `p_holm`, their p after Holm's correction."""
    return [{**row, "p_holm": p} for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True)]


def _called(rows: Sequence[Part]) -> list[Part]:
    """Return the rows with what can be said of all at once; p of the reverse, that a defense is inferior, is the rest of p to 1."""
    worse = holm([1 - row["p"] for row in rows])
    return [
        {**row, "call": "non-inferior" if row["p_holm"] < TAIL else "inferior" if p < TAIL else "not shown"}
        for row, p in zip(rows, worse, strict=True)
    ]


def paired(first: Mapping[str, bool], second: Mapping[str, bool]) -> Part:
    """Return the difference `first - second` over the prompts that both have, at least one: its interval, and McNemar's exact p."""
    both = sorted(first.keys() & second.keys())
    only_first = sum(first[prompt] and not second[prompt] for prompt in both)
    only_second = sum(second[prompt] and not first[prompt] for prompt in both)
    return {
        "n": len(both),
        "only_first": only_first,
        "only_second": only_second,
        "difference": paired_difference(only_first, only_second, len(both))._asdict(),
        "p": mcnemar_of_counts(only_first, only_second),
    }


def counted(answers: Answers, metric: Metric) -> dict[str, bool]:
    """Return by prompt whether a metric holds, where that is known."""
    return {prompt: metric.holds(seen) for prompt, seen in answers.items() if metric.counts(seen)}


def _inconclusive(ours: Answers, theirs: Answers, prompts: Iterable[str], metric: Metric) -> str | None:
    """Return why a test of pairs says too little: on too many prompts there is no outcome on one side or the other."""
    asked = list(prompts)
    return metric.inconclusive([ours[prompt] for prompt in asked], [theirs[prompt] for prompt in asked])


def _rows(
    collected: Collected,
    settings: Sequence[Setting],
    defenses: Sequence[str],
    baseline: str,
    among: Callable[[Seen, Setting], bool],
    metric: Metric,
) -> list[Part]:
    rows = []
    for setting, defense, theirs, ours in _pairs(collected, settings, defenses, baseline):
        prompts = [prompt for prompt, seen in ours.items() if prompt in theirs and among(seen, setting)]
        first, second = (counted({prompt: side[prompt] for prompt in prompts}, metric) for side in (ours, theirs))
        if first.keys() & second.keys():
            doubt = _inconclusive(ours, theirs, prompts, metric)
            rows.append({"setting": setting.name, "defense": defense, **paired(first, second), "inconclusive": doubt})
    return rows


def _pairs(
    collected: Collected, settings: Sequence[Setting], defenses: Sequence[str], baseline: str
) -> Iterable[tuple[Setting, str, Answers, Answers]]:
    for setting in settings:
        theirs = collected.of(setting.name, baseline)
        for defense in defenses:
            ours = collected.of(setting.name, defense)
            if defense != baseline and ours is not None and theirs is not None:
                yield setting, defense, theirs, ours


def _family(what: str, rows: list[Part]) -> Part:
    return {"family": what, "size": len(rows), "rows": corrected(rows)}
