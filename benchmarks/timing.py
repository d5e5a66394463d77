"""Time to the first token and per further token, of ways of generating that take turns in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList

from sightguard.types import Sample

Generate = Callable[..., Any]


def now() -> float:
    """Return the time, once an accelerator has done what it was given."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return time.perf_counter()


class Clock(StoppingCriteria):  # type: ignore[misc]
    """Notes when each token is there; stops nothing."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> Any:
        self.times.append(now())
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


def measure(generate: Generate, samples: Sequence[Sample], tokens: int) -> tuple[float, float]:
    """Return (seconds to the first token, median seconds per further token) of one batch."""
    clock = Clock()
    began = now()
    generate(
        samples,
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        batch=len(samples),
        stopping_criteria=StoppingCriteriaList([clock]),
    )
    gaps = [later - earlier for earlier, later in zip(clock.times, clock.times[1:], strict=False)]
    return clock.times[0] - began, statistics.median(gaps)


def compare(
    ways: Mapping[str, Generate], samples: Sequence[Sample], *, rounds: int, tokens: int, fresh: Callable[[], None]
) -> dict[str, Any]:
    """Return, for each way, its medians and its ratios to the first way over rounds in which they take turns.

    Args:
        ways: by name; the first is the baseline.
        samples: one batch.
        rounds: after one warm-up of every way.
        tokens: length of every answer.
        fresh: called before each way, to forget what was read before.
    """
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, generate in ways.items():
            fresh()
            times = measure(generate, samples, tokens if number else 2)
            if number:
                found[name].append(times)
    baseline = found[next(iter(ways))]
    return {name: _summary(times, baseline) for name, times in found.items()}


def ratio(first: Callable[[], Any], second: Callable[[], Any], rounds: int) -> dict[str, float]:
    """Return the median of first / second over rounds in which they take turns, after one warm-up."""
    pairs = [(_seconds(first), _seconds(second)) for _ in range(rounds + 1)][1:]
    ratios = [a / b for a, b in pairs]
    return {
        "ratio": statistics.median(ratios),
        "low": min(ratios),
        "high": max(ratios),
        "seconds": statistics.median(a for a, _ in pairs),
        "baseline_seconds": statistics.median(b for _, b in pairs),
    }


def _seconds(work: Callable[[], Any]) -> float:
    began = now()
    work()
    return now() - began


def _summary(times: list[tuple[float, float]], baseline: list[tuple[float, float]]) -> dict[str, float]:
    summary: dict[str, float] = {}
    for place, what in enumerate(("prefill", "decode")):
        ratios = [a[place] / b[place] for a, b in zip(times, baseline, strict=True)]
        summary |= {
            f"{what}_seconds": statistics.median(time[place] for time in times),
            f"{what}_ratio": statistics.median(ratios),
            f"{what}_low": min(ratios),
            f"{what}_high": max(ratios),
        }
    return summary
