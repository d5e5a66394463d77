"""What a guard costs: time to the first token, and time per further token, as ratios to the undefended model in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sightguard.demo.conditions import conditions
from sightguard.steering.memory import Memory

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM
    from sightguard.steering.vlm_guard import VlmGuard
    from sightguard.types import Generate, Sample

ROUNDS = 5
TOKENS = 33


def cost(vlm: VLM, guards: Sequence[VlmGuard], samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """Return `{condition: {"prefill_ratio", "decode_ratio"}}`: medians of rounds in which the conditions take turns.

    No reference is remembered from an earlier round, so a guard pays for its text-only pass, and for its captions, each time.

    Args:
        vlm: the model.
        guards: fitted VLM-Guards.
        samples: one batch of prompts with pictures.
    """
    memory, size = Memory(), len(samples)
    first = conditions(vlm, guards, memory=memory, max_new_tokens=1, batch=size)
    # never stop early: every condition writes the same number of tokens
    whole = conditions(vlm, guards, memory=memory, max_new_tokens=TOKENS, min_new_tokens=TOKENS, batch=size)
    prefill: dict[str, list[float]] = {name: [] for name in first}
    decode: dict[str, list[float]] = {name: [] for name in first}
    for number in range(ROUNDS + 1):
        for name in first:
            memory.clear()
            short = _seconds(first[name], samples)
            memory.clear()
            long = _seconds(whole[name], samples)
            if number:  # the first round warms up
                prefill[name].append(short)
                decode[name].append(max(long - short, 1e-9) / (TOKENS - 1))
    return {name: {"prefill_ratio": _ratio(prefill, name), "decode_ratio": _ratio(decode, name)} for name in first}


def _ratio(seconds: Mapping[str, list[float]], name: str) -> float:
    return statistics.median(a / b for a, b in zip(seconds[name], seconds["none"], strict=True))


def _seconds(generate: Generate, samples: Sequence[Sample]) -> float:
    began = time.perf_counter()
    generate(samples)
    return time.perf_counter() - began
