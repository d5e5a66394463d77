"""Choosing the next token of each row by that row's own temperature, top_p and seed.

A token is drawn by the exponential race: argmax(log p - log e) with e from an exponential distribution takes token i with probability p_i.
So transformers decodes greedily, a batch may hold rows that are sampled differently, and what a row draws depends on its seed alone,
not on its neighbours.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sightguard.serve.job import Decoding

COLDEST = 1e-4
"""Below it the likeliest token is all but certain, and float32 would overflow."""


class Draw:
    """The choices of one row.

    Args:
        decoding: temperature and top_p.
        seed: of all that is drawn.
    """

    def __init__(self, decoding: Decoding, seed: int) -> None:
        self.temperature, self.top_p = decoding.temperature, decoding.top_p
        self._generator = torch.Generator().manual_seed(seed % 2**63)

    @property
    def greedy(self) -> bool:
        return self.temperature < COLDEST

    def __call__(self, scores: Tensor) -> Tensor:
        """Return scores, `vocabulary`, whose argmax is the drawn token."""
        if self.greedy:
            return scores
        likely = torch.log_softmax(scores.float() / self.temperature, dim=-1)
        if self.top_p < 1:
            likely = nucleus(likely, self.top_p)
        race = torch.empty(likely.shape, dtype=torch.float32).exponential_(generator=self._generator)
        return likely - race.log().to(likely.device)


def nucleus(likely: Tensor, top_p: float) -> Tensor:
    """Keep the likeliest tokens that together reach `top_p`, at least one; the others become impossible.

    "The Curious Case of Neural Text Degeneration", Holtzman et al., arXiv 1904.09751.

    Args:
        likely: log probabilities, `vocabulary`.
        top_p: above 0, at most 1.
    """
    ordered, places = likely.sort(descending=True)
    before = ordered.exp().cumsum(-1) - ordered.exp()
    gone = before >= top_p
    gone[0] = False
    return likely.masked_fill(torch.zeros_like(gone).scatter(0, places, gone), float("-inf"))
