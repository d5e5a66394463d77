"""The safety head without its widest products: the same logits as `SafetyModules.forward`, for inference.

The head asks few questions of many features, so what is applied to every feature can be moved to the questions, or behind the average:

    scores   q . (Wk (g * n + b) + bk)  =  (g * Wk' q) . n  + a number that is the same for every key, which softmax does not see
    values   sum_k w_k (Wv (g * n_k + b) + bv)  =  Wv (g * sum_k w_k n_k + b) + bv,  since the weights w sum to 1

n is the feature behind the LayerNorm's first half, g and b are its second half. Where there is no LayerNorm (`query="first"`), the last
linear layer of the projector moves behind the average too. SafeVLM / PSA-VLM, section "safety head"; the folding is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sightguard.safevlm.head import SafetyHead, padded
from sightguard.safevlm.projector import project

if TYPE_CHECKING:
    from sightguard.safevlm.modules import SafetyModules


@torch.no_grad()
def folded(
    modules: SafetyModules, pictures: Sequence[Sequence[Tensor]], text: Tensor, asked: Tensor
) -> tuple[Tensor, Tensor]:
    """Return logits of types and levels, `n x types` and `n x levels`; arguments as for `SafetyModules.forward`.

    With `asked` of `n x readings x positions` they are `n x readings x types` and `n x readings x levels`: each position asks by itself, so
    several readings of one request are several averages over one attention. Where nothing asks, what is returned means nothing.
    """
    dtype = modules.head_tokens.dtype
    flat = [tiles.to(dtype) for shown in pictures for tiles in shown]
    counts = [len(shown) for shown in pictures]
    head, text = modules.head, text.to(dtype)
    if head.query == "first":
        pooled = _first(modules, flat, counts, text[:, :1])
        if asked.ndim == 3:
            pooled = pooled[:, None].expand(-1, asked.shape[1], -1)  # no word decides
    else:
        seen = _by_request(project(modules.projector, flat), counts, before=modules.head_tokens)
        pooled = _pooled(head, text, asked, *padded(seen))
    return head.to_type(pooled), head.to_level(pooled)


def _pooled(head: SafetyHead, text: Tensor, asked: Tensor, seen: Tensor, there: Tensor) -> Tensor:
    parts, norm = _Attention.of(head.attention), head.seen_norm
    assert isinstance(norm, nn.LayerNorm)
    features = functional.layer_norm(seen, norm.normalized_shape, eps=norm.eps)
    queries = parts.queries(head.text_norm(text))
    if parts.folding_pays(queries.shape[2], features.shape[1]):
        asking = (parts.onto(queries) * norm.weight).flatten(1, 2)
        scores = (asking @ features.transpose(1, 2)).unflatten(1, queries.shape[1:3])
    else:  # long texts: more questions than features
        scores = queries @ parts.keys(features * norm.weight).transpose(2, 3)
    weights = scores.masked_fill(~there[:, None, None], -torch.inf).softmax(-1)
    share = asked.to(weights) / asked.sum(-1, keepdim=True).clamp(min=1)
    if share.ndim == 2:
        average = torch.einsum("nq,nhqk->nhk", share, weights) @ features
        return parts.values(average * norm.weight + norm.bias)
    average = torch.einsum("nrq,nhqk->nrhk", share, weights).flatten(1, 2) @ features
    by_reading = (average * norm.weight + norm.bias).unflatten(1, (share.shape[1], -1))
    found: Tensor = parts.values(by_reading.flatten(0, 1)).unflatten(0, share.shape[:2])
    return found


def _first(modules: SafetyModules, flat: list[Tensor], counts: list[int], text: Tensor) -> Tensor:
    parts, tokens = _Attention.of(modules.head.attention), modules.head_tokens
    projector: Any = modules.projector
    last: nn.Linear = projector.last
    asking = parts.onto(parts.queries(text))[:, :, 0]
    inner, there = padded(_by_request(project(projector.trunk, flat), counts))
    of_features = (asking @ last.weight) @ inner.transpose(1, 2) + (asking @ last.bias)[..., None]
    of_features = of_features.masked_fill(~there[:, None], -torch.inf)
    weights = torch.cat([asking @ tokens.T, of_features], 2).softmax(-1)
    mine, theirs = weights.split([len(tokens), inner.shape[1]], 2)
    average = mine @ tokens + functional.linear(theirs @ inner, last.weight) + theirs.sum(2, keepdim=True) * last.bias
    return parts.values(average)


def _by_request(features: list[Tensor], counts: list[int], before: Tensor | None = None) -> list[Tensor]:
    """Join the features of each request's pictures, behind what stands before them."""
    rest, first = iter(features), [] if before is None else [before]
    return [torch.cat([*first, *(next(rest) for _ in range(count))]) for count in counts]


@dataclass(frozen=True, slots=True)
class _Attention:
    """The matrices of a cross-attention, by head."""

    of_query: Tensor
    query_bias: Tensor
    of_key: Tensor
    """`heads x head width x hidden`"""
    of_value: Tensor
    value_bias: Tensor
    out: nn.Module
    heads: int

    @classmethod
    def of(cls, attention: nn.MultiheadAttention) -> _Attention:
        hidden, heads = attention.embed_dim, attention.num_heads
        query, key, value = attention.in_proj_weight.split(hidden)
        query_bias, _, value_bias = attention.in_proj_bias.split(hidden)
        by_head = (heads, hidden // heads, hidden)
        return cls(
            query, query_bias, key.reshape(by_head), value.reshape(by_head), value_bias, attention.out_proj, heads
        )

    def queries(self, text: Tensor) -> Tensor:
        """Return `n x heads x positions x head width`, scaled."""
        found = functional.linear(text, self.of_query, self.query_bias)
        scaled: Tensor = found.unflatten(-1, (self.heads, -1)).transpose(1, 2) / self.of_key.shape[1] ** 0.5
        return scaled

    def keys(self, seen: Tensor) -> Tensor:
        """Return `n x heads x tokens x head width`, without the bias."""
        found = functional.linear(seen, self.of_key.flatten(0, 1))
        by_head: Tensor = found.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return by_head

    def onto(self, queries: Tensor) -> Tensor:
        """Return what the queries ask of the features themselves, `n x heads x positions x hidden`."""
        together = queries.transpose(0, 1).flatten(1, 2) @ self.of_key
        asking: Tensor = together.unflatten(1, (len(queries), -1)).transpose(0, 1)
        return asking

    def values(self, average: Tensor) -> Tensor:
        """Return the attention's output for averages of features, `n x heads x hidden` to `n x hidden`."""
        found = torch.einsum("nhd,hed->nhe", average, self.of_value).flatten(1) + self.value_bias
        output: Tensor = self.out(found)
        return output

    def folding_pays(self, positions: int, tokens: int) -> bool:
        """Compare multiplications: both ways also add up scores, over the hidden width or over that of a head."""
        hidden = self.of_query.shape[0]
        return positions * hidden + self.heads * positions * tokens <= tokens * hidden + positions * tokens
