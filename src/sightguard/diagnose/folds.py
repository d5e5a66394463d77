"""Folds over pairs: what is fitted on some pairs is scored on others, and twins stay on one side."""

from __future__ import annotations

import random

from torch import Tensor, tensor

FOLDS = 5
FEWEST_PER_FOLD = 4


def folds(pairs: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Return (pairs to fit on, held-out pairs) for each fold, as indices; five folds, fewer where a fold would hold under four pairs.

    Args:
        pairs: at least 8, so that there are two folds.
        seed: of the order.
    """
    order = list(range(pairs))
    random.Random(seed).shuffle(order)
    count = max(2, min(FOLDS, pairs // FEWEST_PER_FOLD))
    parts = [order[i::count] for i in range(count)]
    return [(tensor(sorted(set(order) - set(part))), tensor(sorted(part))) for part in parts]
