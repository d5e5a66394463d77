"""VLM-Guards made by hand, without a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sightguard.artifacts import Fingerprint
from sightguard.steering.directions import Directions
from sightguard.steering.vlm_guard import BoundVlmGuard, VlmGuard
from sightguard.types import Step

FINGERPRINT = Fingerprint(
    repo="made/by-hand",
    revision=None,
    architecture="None",
    hidden_size=4,
    layers=2,
    dtype="float32",
    chat_template_sha256="0",
    weights_sha256="0",
    image_processor="none",
)


def orthonormal(rows: int, hidden: int, seed: int = 0) -> Tensor:
    values = torch.randn(hidden, rows, generator=torch.manual_seed(seed), dtype=torch.float64)
    rows_of_q: Tensor = torch.linalg.qr(values).Q.T
    return rows_of_q.float().contiguous()


def directions(vectors: Tensor, means: Sequence[tuple[float, float]] | None = None) -> Directions:
    """`vectors` is `layers x k x hidden`; `means` are (harmless, harmful) per layer."""
    count = vectors.shape[0]
    middle = torch.tensor(means if means is not None else [(0.0, 0.0)] * count)
    return Directions(tuple(range(count)), vectors, torch.ones(vectors.shape[:2]), middle)


def bound(vectors: Tensor, query: Tensor | None, **options: Any) -> BoundVlmGuard:
    """Return a guard with the `m x hidden` rows `vectors` at layer 0, for prompts with text-only states `query`, `n x hidden`."""
    guard = VlmGuard(
        directions(vectors[None]),
        FINGERPRINT,
        (0,),
        m=len(vectors),
        **{"gate": "always", "threshold": "literal", **options},
    )
    coordinates = None if query is None else (query.float() @ vectors.T)[None]
    return BoundVlmGuard(guard, vectors[None], guard.limits(), coordinates)


def reading_step(rows: int, tokens: int) -> Step:
    """Where prompts without padding stand while they are read."""
    last = torch.zeros(rows, tokens, dtype=torch.bool)
    last[:, -1] = True
    return Step(
        0, torch.arange(tokens).expand(rows, -1), torch.ones_like(last), torch.zeros_like(last), last, prefill=True
    )


def writing_step(rows: int) -> Step:
    """Where the next token of an answer stands."""
    here = torch.ones(rows, 1, dtype=torch.bool)
    return Step(0, torch.full((rows, 1), 9), here, ~here, ~here, prefill=False)
