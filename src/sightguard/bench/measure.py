"""What a run of a local model measures beside its answers, once, when all are there: what each defense costs, and how fluent it leaves the model."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from sightguard.bench.defenses import Defense
from sightguard.bench.fluent import fluent
from sightguard.bench.timing import ROUNDS, TOKENS, Timing
from sightguard.evaluate.folder import RunFolder
from sightguard.evaluate.rows import digest
from sightguard.types import Sample

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM

TIMED = 8
"""Prompts, asked together."""
Measure = Callable[[RunFolder, Mapping[str, Sequence[Sample]]], Mapping[str, Any]]
"""From a run that is done and its samples by setting to entries of `measured.json`; its own name is one of them."""


def measures(
    vlm: VLM, made: Sequence[Defense], *, seed: int, progress: Callable[[str, int, int], None]
) -> dict[str, Measure]:
    """Return what is measured of a local model, by the name under which `measured.json` holds it.

    Args:
        vlm: the undefended model.
        made: the defenses, it among them.
        seed: of what is drawn.
        progress: called with (stage, done, of so many).
    """

    def costs(run: RunFolder, asked: Mapping[str, Sequence[Sample]]) -> Mapping[str, Any]:
        samples = timed(asked, seed)
        timing = Timing(made, samples, tokens=min(TOKENS, vlm.max_new_tokens))
        found = timing.costs(partial(progress, "measure time"))
        pictured = sum(bool(sample.images) for sample in samples)
        return {
            "costs": found,
            "timing": {"n": len(samples), "pictured": pictured, "rounds": ROUNDS, "tokens": timing.tokens},
        }

    def perplexity(run: RunFolder, asked: Mapping[str, Sequence[Sample]]) -> Mapping[str, Any]:
        progress("measure perplexity", 0, 1)
        found = fluent(vlm, run, asked, seed=seed)
        progress("measure perplexity", 1, 1)
        return found

    return {"costs": costs, "perplexity": perplexity}


def timed(asked: Mapping[str, Sequence[Sample]], seed: int) -> list[Sample]:
    """Return the prompts that are timed: some with pictures where the run has any, each once."""
    distinct = {digest(sample): sample for sample in _all(asked)}
    pictured = {key: sample for key, sample in distinct.items() if sample.images}
    pool = pictured or distinct
    keys = sorted(pool)
    return [pool[key] for key in sorted(random.Random(f"costs|{seed}").sample(keys, min(TIMED, len(keys))))]


def _all(asked: Mapping[str, Sequence[Sample]]) -> Iterable[Sample]:
    return (sample for part in asked.values() for sample in part)
