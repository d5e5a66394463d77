"""Whether a prompt is answered the same alone and in a batch, with a cache and without, and when it is asked again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from sightguard.doctor.measure import apart, difference, likeness, same_prompt
from sightguard.doctor.probes import TEXT, Written, pictured, written
from sightguard.environment import Check
from sightguard.errors import ModelError

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM
    from sightguard.types import Sample

STEPS = 4
"""Tokens written to compare a cache with none; the first comes from the prompt and meets no cache."""


def check_batch_of_texts(vlm: VLM) -> Check:
    """Texts of different length are answered in one left-padded batch as one by one."""
    return batched("batch, text", vlm, TEXT)


def check_batch_with_pictures(vlm: VLM) -> Check:
    """The same for prompts with a picture, and one without where a model reads such together."""
    return batched("batch, pictures", vlm, pictured() if vlm.anatomy.crossing else [*pictured(), TEXT[0]])


def check_cache_with_text(vlm: VLM) -> Check:
    """Texts are answered with a KV cache as without."""
    return cached("cache, text", vlm, TEXT)


def check_cache_with_pictures(vlm: VLM) -> Check:
    """Prompts with a picture are answered with a KV cache as without."""
    return cached("cache, pictures", vlm, pictured())


def check_asked_again(vlm: VLM) -> Check:
    """Prompts asked in turn, two of them equally long and one of them twice, find nothing in the cache of the one before."""
    one, other = pictured()[:2]
    order = (TEXT[0], one, other, one)
    kept = [written(vlm, [sample], new=2) for sample in order]
    anew = {sample.id: written(vlm, [sample], new=2, cached=False) for sample in order[:3]}
    measured = max(_apart_where_comparable(found, anew[s.id]) for s, found in zip(order, kept, strict=True))
    others = apart(torch.cat([found.logits for found in anew.values()]))
    return likeness("asked again", measured, same_prompt(vlm), others=others)


def batched(name: str, vlm: VLM, samples: Sequence[Sample]) -> Check:
    """Compare the first answer token's logits of prompts in one batch with those of each alone."""
    real = vlm.encode(samples).real
    if bool(real.all()):
        raise ModelError("the prompts of this check came out equally long, so no padding was tried")
    together = written(vlm, samples).logits
    alone = torch.cat([written(vlm, [sample]).logits for sample in samples])
    measured = float(difference(together, alone).max())
    found = likeness(name, measured, same_prompt(vlm), others=apart(alone))
    if bool(real[:, -1].all()):
        return found
    detail = "padding stands on the right, where the answer should begin: the processor ignores padding_side='left'"
    return replace(found, status="fail", detail=detail)


def cached(name: str, vlm: VLM, samples: Sequence[Sample]) -> Check:
    """Compare the logits of answers written with a cache and without, up to the first token that came out otherwise."""
    kept, anew = (written(vlm, samples, new=STEPS, cached=yes) for yes in (True, False))
    steps = kept.comparable(anew)
    if not bool(steps[:, 1].any()):
        raise ModelError("with a cache and without, the first token already came out otherwise in every prompt")
    measured = _apart_where_comparable(kept, anew)
    detail = f"{int(steps.sum())} of {steps.numel()} tokens compared"
    return likeness(name, measured, same_prompt(vlm), others=apart(anew.logits[:, 1:]), detail=detail)


def _apart_where_comparable(found: Written, expected: Written) -> float:
    """Return the largest difference of logits at steps where both had read the same."""
    return float(difference(found.logits, expected.logits)[found.comparable(expected)].max())
