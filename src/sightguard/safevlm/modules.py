"""The safety modules of SafeVLM as one `nn.Module`: projector, two sets of safety tokens, head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from sightguard.errors import UsageError
from sightguard.safevlm.head import Query, SafetyHead, padded
from sightguard.safevlm.projector import CAbstractor, MLPProjector, project

INIT = 0.02
"""Standard deviation of fresh safety tokens, as released."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of the modules. The defaults are the published ones, for a vision tower of width 1024."""

    vision: int = 1024
    """Channels of the vision features."""
    hidden: int = 4096
    """Width of the language model."""
    types: int = 7
    levels: int = 4
    tokens: int = 64
    """Safety tokens in each of the two sets."""
    projector: Literal["c_abstractor", "mlp"] = "c_abstractor"
    inner: int | None = None
    """Channels inside the projector; None: `vision + 64`, as published."""
    side: int = 24
    """The grid of safety features: side x side of them for each tile."""
    depth: int = 3
    heads: int = 8
    query: Query = "pooled"

    def __post_init__(self) -> None:
        if self.projector not in ("c_abstractor", "mlp"):
            raise UsageError(f"projector is 'c_abstractor' or 'mlp'; got {self.projector!r}")
        for name in ("vision", "hidden", "types", "levels", "tokens", "side", "heads"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} of the safety modules must be at least 1; got {getattr(self, name)}")

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """Read a shape from JSON."""
        return cls(**values)

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


class SafetyModules(nn.Module):
    """Safety projector, safety head, and the two independent sets of safety tokens.

    `head_tokens` stand before the safety features when the head looks at them; `prompt_tokens` stand before each picture in the
    prompt of the language model. Both are `tokens x hidden`.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        inner = shape.inner or shape.vision + 64
        self.shape = shape
        self.projector: nn.Module
        if shape.projector == "mlp":
            self.projector = MLPProjector(shape.vision, inner, shape.hidden)
        else:
            self.projector = CAbstractor(shape.vision, inner, shape.hidden, side=shape.side, depth=shape.depth)
        self.head = SafetyHead(shape.hidden, shape.types, shape.levels, heads=shape.heads, query=shape.query)
        self.head_tokens = nn.Parameter(torch.randn(shape.tokens, shape.hidden) * INIT)
        self.prompt_tokens = nn.Parameter(torch.randn(shape.tokens, shape.hidden) * INIT)

    def forward(self, pictures: Sequence[Sequence[Tensor]], text: Tensor, asked: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of types and levels, `n x types` and `n x levels`.

        Args:
            pictures: for each request its pictures, each `tiles x height x width x channels` of vision features.
            text: `n x positions x hidden`, embeddings of the first token of the prompt and of the question.
            asked: `n x positions`, True on the question.
        """
        dtype = self.head_tokens.dtype
        flat = project(self.projector, [tiles.to(dtype) for shown in pictures for tiles in shown])
        rows, at = [], 0
        for shown in pictures:
            rows.append(torch.cat([self.head_tokens.to(flat[at].dtype), *flat[at : at + len(shown)]]))
            at += len(shown)
        seen, there = padded(rows)
        logits: tuple[Tensor, Tensor] = self.head(text.to(seen.dtype), asked, seen, there)
        return logits
