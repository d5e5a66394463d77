"""Perplexity of answers under the unguarded text-only model: the paper's measure of fluency."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sightguard.models.encode import pad_rows
from sightguard.steering.method import text_rows

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM
    from sightguard.types import Sample

BATCH = 128
Pair = tuple[tuple[int, ...], tuple[int, ...]]
"""Token ids of a prompt, and of an answer."""


@torch.no_grad()
def perplexity(vlm: VLM, samples: Sequence[Sample], answers: Mapping[str, Sequence[str]]) -> dict[str, float | None]:
    """Return the perplexity of each condition's answers, given the text of the prompt alone.

    Args:
        vlm: the model whose text-only half reads the answers.
        samples: the prompts.
        answers: by condition, one per sample; empty answers are left out, and a condition with none gives None.
    """
    prompts = text_rows(vlm, samples)
    asked = {name: _pairs(vlm, prompts, texts) for name, texts in answers.items()}
    # most answers are given by several conditions: each is read once
    losses = _losses(
        vlm, sorted({pair for pairs in asked.values() for pair in pairs}, key=lambda pair: len(pair[0] + pair[1]))
    )
    return {
        name: math.exp(float(torch.cat([losses[pair] for pair in pairs]).mean())) if pairs else None
        for name, pairs in asked.items()
    }


def _pairs(vlm: VLM, prompts: Sequence[tuple[int, ...]], texts: Sequence[str]) -> list[Pair]:
    if not texts:
        return []
    tails = [tuple(ids) for ids in vlm.processor.tokenizer(list(texts), add_special_tokens=False)["input_ids"]]
    return [(prompt, tail) for prompt, tail in zip(prompts, tails, strict=True) if prompt and tail]


def _losses(vlm: VLM, pairs: Sequence[Pair]) -> dict[Pair, Tensor]:
    """Return the loss of each token of each answer."""
    losses: dict[Pair, Tensor] = {}
    for start in range(0, len(pairs), BATCH):
        chunk = pairs[start : start + BATCH]
        inputs = pad_rows([prompt + tail for prompt, tail in chunk], pad=vlm.pad, device=vlm.device)
        logits = vlm.model(**inputs).logits[:, :-1].float()
        losses_of_tokens = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), inputs["input_ids"][:, 1:].flatten(), reduction="none"
        )
        table = losses_of_tokens.view(len(chunk), -1)
        losses |= {pair: row[-len(pair[1]) :] for row, pair in zip(table, chunk, strict=True)}
    return losses
