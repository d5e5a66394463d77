"""The safety head: what is asked looks at the safety features, and says of which type and how grave the risk is.

One cross-attention, query = the language model's input embeddings of the text, key = value = [safety tokens ; safety features], and
two linear layers. Two readings:

    query="first"   as the released code does: only the first position of the prompt is kept. Its embedding is the same for every
                    prompt, so the picture alone decides.
    query="pooled"  as the paper's text has it: every token of the question asks, and the answers are averaged. The tokens of the
                    template, padding and the model's answer take no part. Text and features pass a LayerNorm first: without one the
                    small embeddings leave the attention flat, and then the question decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from sightguard.errors import UsageError

Query = Literal["first", "pooled"]


class SafetyHead(nn.Module):
    """Cross-attention from text to safety features, and two classifiers.

    Args:
        hidden: width of the language model.
        types: number of types of risk, the safe one counted.
        levels: number of levels.
        heads: of the attention; divides `hidden`.
        query: which positions of the text ask.
    """

    def __init__(self, hidden: int, types: int, levels: int, *, heads: int = 8, query: Query = "pooled") -> None:
        super().__init__()
        if hidden % heads:
            raise UsageError(f"the width of the model ({hidden}) does not divide into {heads} attention heads")
        if query not in ("first", "pooled"):
            raise UsageError(f"query is 'first' or 'pooled'; got {query!r}")
        self.query = query
        self.attention = nn.MultiheadAttention(hidden, heads, batch_first=True)
        pooled = query == "pooled"
        self.text_norm: nn.Module = nn.LayerNorm(hidden) if pooled else nn.Identity()
        self.seen_norm: nn.Module = nn.LayerNorm(hidden) if pooled else nn.Identity()
        self.to_type = nn.Linear(hidden, types)
        self.to_level = nn.Linear(hidden, levels)

    def forward(self, text: Tensor, asked: Tensor, seen: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of the types, `n x types`, and of the levels, `n x levels`.

        Args:
            text: `n x positions x hidden`, embeddings; position 0 is the first token of the prompt.
            asked: `n x positions`, True on the tokens of the question.
            seen: `n x tokens x hidden`, safety tokens and safety features.
            there: `n x tokens`, False on padding.
        """
        if self.query == "first":
            text, asked = text[:, :1], torch.ones_like(asked[:, :1])
        text, seen = self.text_norm(text), self.seen_norm(seen)
        found, _ = self.attention(text, seen, seen, key_padding_mask=~there, need_weights=False)
        weights = asked / asked.sum(1, keepdim=True).clamp(min=1)
        pooled = (found * weights[..., None].to(found.dtype)).sum(1)
        return self.to_type(pooled), self.to_level(pooled)


def padded(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return rows of `length x hidden` as `n x longest x hidden`, padded behind with zeros, and the mask of what is there."""
    values = nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    lengths = torch.tensor([len(row) for row in rows], device=values.device)
    return values, torch.arange(values.shape[1], device=values.device) < lengths[:, None]
