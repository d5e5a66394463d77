"""How long an answer takes: what the user says, what a run before this one measured, or what was measured on the embedded model.

There is no other source, so of most models nothing is known until a few prompts of them were asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightguard.artifacts import read_json
from sightguard.bench.calls import calls
from sightguard.bench.pixels import seconds_of_a_pass
from sightguard.bench.plan import Planned
from sightguard.errors import DataError, UsageError
from sightguard.evaluate.folder import MANIFEST, RunFolder

MEASURED = Path(__file__).with_name("speed.json")
"""Figures of the embedded model, from `results/` (`python -m scripts.speed`)."""
Seconds = tuple[float, float]


@dataclass(frozen=True)
class Speed:
    """Where a figure is from, and what it says."""

    source: str
    of: Callable[[str, Planned], Seconds | None]
    """A defense and a setting to the seconds of all its prompts, at least and at most; None: not known."""
    gradient: float | None = None
    """Seconds of a sample's pass forwards and backwards in an attack on pixels; None: not known."""


def stated(seconds: float) -> Speed:
    """Return what a user says one answer of the model takes; a defense that asks the model more often takes so many times that.

    Raises:
        UsageError: not above 0.
    """
    if not 0 < seconds < float("inf"):
        raise UsageError(f"expected seconds of one answer, above 0; got {seconds}")

    def of(defense: str, one: Planned) -> Seconds:
        counts = [calls(defense, pictured=bool(sample.images)) for sample in one.samples]
        return seconds * sum(low for low, _ in counts), seconds * sum(high for _, high in counts)

    return Speed(f"{seconds:g} s an answer, as given", of)


def shipped() -> Speed:
    """Return what was measured on the embedded model."""
    told = read_json(MEASURED, schema=1)
    each, ratios, machine = 1 / told["prompts_per_second"], told["seconds_ratio"], told["machine"]

    def of(defense: str, one: Planned) -> Seconds | None:
        return None if defense not in ratios else _exactly(len(one.samples) * each * ratios[defense])

    where = f"{machine['device']} with {machine['threads']} threads"
    return Speed(
        f"measured on {told['model']}, {where} ({' and '.join(told['sources'])}): another machine differs",
        of,
        told["gradient_seconds"],
    )


def like(folder: Path, model: str) -> Speed:
    """Return what a run measured, by defense and setting; a setting that it did not ask has the defense's mean.

    Args:
        folder: of the run; it need not be whole.
        model: as the run's manifest names it.

    Raises:
        DataError: no run, a damaged one, or no answers in it.
        UsageError: a run of another model.
    """
    run = RunFolder(folder)
    about = run.manifest.get("about", {})
    if about.get("model") != model:
        raise UsageError(
            f"the run in {str(folder)!r} is of {about.get('model')!r}, and says nothing of the time of {model!r}"
        )
    sums: dict[tuple[str, ...], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for row in run.stream():
        # a guard that crashed, or an endpoint that failed, has no time of an answer
        if row.response.error is None and row.response.seconds > 0:
            for key in ((row.condition,), (row.condition, row.setting)):
                sums[key][0] += row.response.seconds
                sums[key][1] += 1
    if not sums:
        raise DataError(
            f"the run in {str(folder)!r} holds no answer that was timed. Ask a few prompts first (--limit 8)."
        )
    means = {key: total / count / _at_once(run.manifest) for key, (total, count) in sums.items()}

    def of(defense: str, one: Planned) -> Seconds | None:
        mean = means.get((defense, one.setting.name), means.get((defense,)))
        return None if mean is None else _exactly(len(one.samples) * mean)

    n = sum(int(count) for key, (_, count) in sums.items() if len(key) == 1)
    return Speed(f"measured on {n:,} answers in {folder}", of, seconds_of_a_pass(folder))


def earlier(out: Path | None, model: str) -> Speed | None:
    """Return what the run in a folder measured, or None where there is no run of this model with answers."""
    if out is None or not (out / MANIFEST).is_file():
        return None
    try:
        return like(out, model)
    except (DataError, UsageError):
        return None


def _exactly(seconds: float) -> Seconds:
    return seconds, seconds


def _at_once(manifest: Mapping[str, Any]) -> int:
    """Return how many of a run's answers came at the same time: an endpoint's seconds are each its own, a local model's are shares of its batch."""
    return int(manifest.get("about", {}).get("concurrency", 1))
