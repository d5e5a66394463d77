"""What a guard costs: time to the first token, and time per further token, as ratios to the undefended model in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from sightguard.demo.conditions import conditions
from sightguard.steering.memory import Memory

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM
    from sightguard.safevlm.model import SafeVLM
    from sightguard.steering.vlm_guard import VlmGuard
    from sightguard.types import Generate, Sample

ROUNDS = 4
TOKENS = 25


def cost(
    vlm: VLM,
    guards: Sequence[VlmGuard],
    safe: Sequence[SafeVLM],
    samples: Sequence[Sample],
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, dict[str, float | list[float]]]:
    """Return `{condition: {"prefill_ratio", "decode_ratio", …}}`: medians of rounds in which the conditions take turns.

    For the first token no reference is remembered, so a guard pays for its text-only pass, and for its captions, each time. For
    further tokens it is, so that what the two timings differ by is decoding alone. `prefill_range` and `decode_range` hold the
    smallest and the largest ratio of a round.

    Args:
        vlm: the model.
        guards: fitted VLM-Guards.
        safe: trained SafeVLMs.
        samples: one batch of prompts with pictures.
        progress: called with (rounds done, rounds in all).
    """
    memory, size = Memory(), len(samples)
    first = conditions(vlm, guards, safe, memory=memory, max_new_tokens=1, batch=size)
    # never stop early: every condition writes the same number of tokens
    whole = conditions(vlm, guards, safe, memory=memory, max_new_tokens=TOKENS, min_new_tokens=TOKENS, batch=size)
    prefill: dict[str, list[float]] = {name: [] for name in first}
    decode: dict[str, list[float]] = {name: [] for name in first}
    for number in range(ROUNDS + 1):
        progress(number, ROUNDS + 1)
        for name in first:
            memory.clear()
            fresh = _seconds(first[name], samples)
            known = _seconds(first[name], samples)
            long = _seconds(whole[name], samples)
            if number:  # the first round warms up
                prefill[name].append(fresh)
                decode[name].append(long - known)
    progress(ROUNDS + 1, ROUNDS + 1)
    return {name: {**_ratio("prefill", prefill, name), **_ratio("decode", decode, name)} for name in first}


def _ratio(what: str, seconds: Mapping[str, list[float]], name: str) -> dict[str, float | list[float]]:
    ratios = [a / b for a, b in zip(seconds[name], seconds["none"], strict=True)]
    return {f"{what}_ratio": statistics.median(ratios), f"{what}_range": [min(ratios), max(ratios)]}


def _seconds(generate: Generate, samples: Sequence[Sample]) -> float:
    began = time.perf_counter()
    generate(samples)
    return time.perf_counter() - began
