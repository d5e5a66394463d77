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


@torch.no_grad()
def perplexity(vlm: VLM, samples: Sequence[Sample], answers: Mapping[str, Sequence[str]]) -> dict[str, float | None]:
    """Return the perplexity of each condition's answers, given the text of the prompt alone.

    Args:
        vlm: the model whose text-only half reads the answers.
        samples: the prompts.
        answers: by condition, one per sample; empty answers are left out, and a condition with none gives None.
    """
    prompts = text_rows(vlm, samples)
    found: dict[str, float | None] = {}
    for name, texts in answers.items():
        tails = (
            [tuple(ids) for ids in vlm.processor.tokenizer(list(texts), add_special_tokens=False)["input_ids"]]
            if texts
            else []
        )
        pairs = [(prompt, tail) for prompt, tail in zip(prompts, tails, strict=True) if prompt and tail]
        found[name] = _perplexity(vlm, pairs) if pairs else None
    return found


def _perplexity(vlm: VLM, pairs: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> float:
    losses: list[Tensor] = []
    for start in range(0, len(pairs), BATCH):
        chunk = pairs[start : start + BATCH]
        inputs = pad_rows([prompt + tail for prompt, tail in chunk], pad=vlm.pad, device=vlm.device)
        logits = vlm.model(**inputs).logits[:, :-1].float()
        losses_of_tokens = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), inputs["input_ids"][:, 1:].flatten(), reduction="none"
        )
        table = losses_of_tokens.view(len(chunk), -1)
        losses += [row[-len(tail) :] for row, (_, tail) in zip(table, chunk, strict=True)]
    return math.exp(float(torch.cat(losses).mean()))
