"""One run's answers as each metric counts them, and the difference between two runs in one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightguard.bench.against import paired
from sightguard.bench.figures import attacked, benign, is_attack, is_benign, known_prompts, rate, utility
from sightguard.bench.loaded import Loaded
from sightguard.bench.metrics import METRICS, Metric
from sightguard.bench.seen import Answers
from sightguard.bench.setting import Setting
from sightguard.evaluate.differences import fisher, unpaired_difference

PAIRED_FROM = 0.5
"""The share of each run's prompts that must be in the other too for the two to be paired."""


_COUNTED = {
    **{metric.name: metric for metric in METRICS},
    "broken": Metric("broken", lambda seen: seen.outcome == "broken", lambda seen: True),
    "undecided": Metric("undecided", lambda seen: seen.outcome is None, lambda seen: True),
}


class Side:
    """One run's answers of one defense in one setting, as each metric counts them."""

    def __init__(self, run: Loaded, setting: str, defense: str) -> None:
        self._setting: Setting = run.settings[setting]
        self._answers: Answers = run.collected.answers[setting][defense]
        self._known = known_prompts(run.collected.answers[setting].values(), self._setting)

    def asks(self, metric: str) -> bool:
        """Return whether the setting has prompts that the metric is about."""
        return bool(self._among(metric))

    def values(self, metric: str) -> dict[str, bool]:
        """Return by prompt whether the metric holds; prompts without an outcome are left out where a rate leaves them out."""
        counted = _COUNTED[metric]
        return {prompt: counted.holds(seen) for prompt, seen in self._among(metric).items() if counted.counts(seen)}

    def inconclusive(self, metric: str) -> str | None:
        """Return why the metric says too little here, or None where it stands."""
        count = {"asr": attacked, "over_refusal": benign, "utility": utility}.get(metric)
        told = count(list(self._among(metric).values())) if count else None
        return told["inconclusive"] if told else None

    def _among(self, metric: str) -> Answers:
        if metric == "asr":
            return {prompt: seen for prompt, seen in self._answers.items() if is_attack(seen, self._setting)}
        if metric == "over_refusal":
            return {prompt: seen for prompt, seen in self._answers.items() if is_benign(seen, self._setting)}
        if metric == "utility":
            return {prompt: seen for prompt, seen in self._answers.items() if prompt in self._known}
        return self._answers


def difference(first: Mapping[str, bool], second: Mapping[str, bool]) -> dict[str, Any]:
    """Return both rates and their difference: over the prompts that both have where these are most, else over each run's own."""
    both = first.keys() & second.keys()
    if both and len(both) >= PAIRED_FROM * max(len(first), len(second)):
        told = paired({prompt: second[prompt] for prompt in both}, {prompt: first[prompt] for prompt in both})
        sides = [rate(sum(side[prompt] for prompt in both), len(both)) for side in (first, second)]
        how, test = "paired", "McNemar"
        apart, p = told["difference"], told["p"]
    else:
        counts = [(sum(side.values()), len(side)) for side in (first, second)]
        sides, how, test = [rate(*count) for count in counts], "unpaired", "Fisher"
        known = all(n for _, n in counts)
        apart = unpaired_difference(*counts[1], *counts[0])._asdict() if known else None
        p = fisher(*counts[1], *counts[0]) if known else None
    return {
        "how": how,
        "test": test,
        "first": sides[0],
        "second": sides[1],
        "common": len(both),
        "of": [len(first), len(second)],
        "difference": apart,
        "p": p,
    }
