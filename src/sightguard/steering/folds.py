"""Scores of anchors on directions that were fitted without them: what a threshold may be set on when there is nothing else.

Each fold's first direction is a mix of the other folds' paired differences, so one table of inner products per layer serves all folds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sightguard.errors import DataError

if TYPE_CHECKING:
    from sightguard.steering.directions import Estimator

FOLDS = 5


def held_out_scores(
    harmful: Tensor, harmless: Tensor, *, estimator: Estimator = "svd", folds: int = FOLDS
) -> tuple[Tensor, Tensor]:
    """Return the scores of both sides on the first direction of the other folds: `layers x pairs` each, float64.

    Pair i belongs to fold i mod `folds`; twins stay together.

    Args:
        harmful: `layers x pairs x hidden`.
        harmless: the same shape, row i being the twin of row i.
        estimator: as for `fit_directions`.
        folds: at most so many; fewer where there are fewer pairs.

    Raises:
        DataError: fewer than two pairs.
    """
    pairs = harmful.shape[1]
    if pairs < 2:
        raise DataError(f"scoring anchors on directions fitted without them needs at least 2 pairs; got {pairs}")
    device = harmful.device
    fold = torch.arange(pairs, device=device) % min(folds, pairs)
    sides = []
    for bad, good in zip(harmful, harmless, strict=True):
        bad, good = bad.double(), good.double()
        difference = bad - good
        products = torch.stack([bad @ difference.T, good @ difference.T])  # 2 x pairs x pairs
        scores = torch.empty(2, pairs, dtype=torch.float64, device=device)
        for number in range(int(fold.max()) + 1):
            out = fold == number
            scores[:, out] = products[:, out][:, :, ~out] @ _mix((products[0] - products[1])[~out][:, ~out], estimator)
        sides.append(scores)
    return torch.stack([scores[0] for scores in sides]), torch.stack([scores[1] for scores in sides])


def _mix(gram: Tensor, estimator: Estimator) -> Tensor:
    """Return w such that the first direction is Aᵀw, of length 1 and turned to harmful; `gram` is AAᵀ."""
    mean = torch.full_like(gram[0], 1 / len(gram))
    weights = mean if estimator == "mean_difference" else torch.linalg.eigh(gram).eigenvectors[:, -1]
    length = (weights @ gram @ weights).clamp(min=0).sqrt()
    if not torch.isfinite(length) or length == 0:
        raise DataError("the anchors of some folds do not differ, so there is no direction to score the others on")
    return weights * torch.where(weights @ gram @ mean < 0, -1.0, 1.0) / length
