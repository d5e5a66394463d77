"""Perplexity of answers under the unguarded text-only model: the paper's measure of fluency."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from sightguard.data.blank import blank
from sightguard.models.anatomy import unwrap
from sightguard.models.encode import pad_rows
from sightguard.safevlm.learner import longer
from sightguard.steering.method import text_rows
from sightguard.types import Sample

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM

BATCH = 128
NUMBERS = 2**28
"""Logits of a pass at most: a gigabyte as float32, whatever the vocabulary."""
Pair = tuple[tuple[int, ...], tuple[int, ...]]
"""Token ids of a prompt, and of an answer."""


class Fluency(NamedTuple):
    """How likely answers are, and how many of them were read."""

    perplexity: float | None
    n: int


def perplexity(vlm: VLM, samples: Sequence[Sample], answers: Mapping[str, Sequence[str]]) -> dict[str, float | None]:
    """Return what `fluency` does, without the numbers of answers."""
    return {name: found.perplexity for name, found in fluency(vlm, samples, answers).items()}


@torch.no_grad()
def fluency(vlm: VLM, samples: Sequence[Sample], answers: Mapping[str, Sequence[str]]) -> dict[str, Fluency]:
    """Return the perplexity of each condition's answers, given the text of the prompt alone: over all their tokens together.

    Args:
        vlm: the model whose text-only half reads the answers.
        samples: the prompts; one that has no words is left out, since nothing is asked without its picture.
        answers: by condition, one per sample; empty answers are left out, and a condition with none gives None.
    """
    prompts = text_rows(vlm, samples)
    asked = {name: _pairs(vlm, prompts, texts) for name, texts in answers.items()}
    # most answers are given by several conditions: each is read once
    losses = _losses(
        vlm, sorted({pair for pairs in asked.values() for pair in pairs}, key=lambda pair: len(pair[0] + pair[1]))
    )
    return {
        name: Fluency(
            math.exp(float(torch.cat([losses[pair] for pair in pairs]).mean())) if pairs else None, len(pairs)
        )
        for name, pairs in asked.items()
    }


def _pairs(vlm: VLM, prompts: Sequence[tuple[int, ...]], texts: Sequence[str]) -> list[Pair]:
    if not texts:
        return []
    tails = [tuple(ids) for ids in vlm.processor.tokenizer(list(texts), add_special_tokens=False)["input_ids"]]
    return [(prompt, tail) for prompt, tail in zip(prompts, tails, strict=True) if prompt and tail]


def _losses(vlm: VLM, pairs: Sequence[Pair]) -> dict[Pair, Tensor]:
    """Return the loss of each token of each answer, float32 on the CPU."""
    losses: dict[Pair, Tensor] = {}
    kind = _kind_of_answers(vlm) if vlm.anatomy.token_types and pairs else None
    for chunk in _chunks(vlm, pairs):
        inputs = pad_rows([prompt + tail for prompt, tail in chunk], pad=vlm.pad, device=vlm.device)
        if kind is not None:
            kinds = [[0] * len(prompt) + [kind] * len(tail) for prompt, tail in chunk]
            inputs["token_type_ids"] = pad_rows(kinds, pad=0, device=vlm.device)["input_ids"]
        logits = unwrap(vlm.model)(**inputs, use_cache=False).logits[:, :-1].float()
        losses_of_tokens = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), inputs["input_ids"][:, 1:].flatten().to(logits.device), reduction="none"
        )
        table = losses_of_tokens.view(len(chunk), -1).cpu()
        losses |= {pair: row[-len(pair[1]) :] for row, pair in zip(table, chunk, strict=True)}
    return losses


def _kind_of_answers(vlm: VLM) -> int:
    """Return the token type of an answer: of another one, its tokens could see those that come after them."""
    beside = vlm.encode([Sample.of("?", blank())])
    return int(longer(beside, 1)["token_type_ids"][0, -1])


def _chunks(vlm: VLM, pairs: Sequence[Pair]) -> Iterator[Sequence[Pair]]:
    """Yield pairs, sorted by length, in passes that fit into memory."""
    words, start = len(vlm.processor.tokenizer), 0
    while start < len(pairs):
        chunk = pairs[start : start + BATCH]
        # the last is the longest, and the others are padded to it
        chunk = chunk[: max(1, NUMBERS // (words * len(chunk[-1][0] + chunk[-1][1])))]
        yield chunk
        start += len(chunk)
