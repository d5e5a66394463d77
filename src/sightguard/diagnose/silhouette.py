"""How well two clouds keep apart (Rousseeuw 1987), in Euclidean distance."""

from __future__ import annotations

import torch
from torch import Tensor


def silhouette(states: Tensor, labels: Tensor) -> float:
    """Return the mean silhouette coefficient of two groups, −1 to 1: 1 far apart, 0 mixed, below 0 nearer to the other group.

    Args:
        states: `n x hidden`.
        labels: `n`, bool; at least two of each kind.
    """
    distances = torch.cdist(states.double(), states.double(), compute_mode="donot_use_mm_for_euclid_dist")
    same = labels[:, None] == labels[None]
    own = (distances * same).sum(1) / (same.sum(1) - 1)
    other = (distances * ~same).sum(1) / (~same).sum(1)
    widest = torch.maximum(own, other)
    return float(torch.where(widest > 0, (other - own) / widest.clamp(min=torch.finfo(torch.float64).tiny), 0.0).mean())
