"""From logits to a verdict: the joint probability of type and level over the pairs that go together, with calibrated temperatures.

    P(type, level) ~ softmax(type logits / T1)[type] * softmax(level logits / T2)[level]

over (safe, 0) and every (risk, level >= 1), normalised. The paper speaks of a joint probability; the released code takes two independent
argmaxes, which may contradict each other ("safe" with level 3). The temperatures are fitted on held-out data (Guo et al. 2017,
arXiv 1706.04599), and the expected calibration error is reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from sightguard.types import Risk

if TYPE_CHECKING:
    from sightguard.data.taxonomy import Taxonomy

BINS = 15
"""Of the expected calibration error, as in Guo et al."""


def joint(types: Tensor, levels: Tensor, safe: int, temperatures: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """Return P(type, level), `n x types x levels`, zero for pairs that do not go together; each sums to 1.

    Args:
        types: logits, `n x types`.
        levels: logits, `n x levels`; level 0 is safe.
        safe: class of the safe type.
        temperatures: of the two.
    """
    by_type = functional.log_softmax(types.double() / temperatures[0], -1)
    by_level = functional.log_softmax(levels.double() / temperatures[1], -1)
    together = torch.ones(types.shape[1], levels.shape[1], dtype=torch.bool, device=types.device)
    together[:, 0] = False
    together[safe] = False
    together[safe, 0] = True
    both = (by_type[:, :, None] + by_level[:, None, :]).masked_fill(~together, -torch.inf)
    return both.flatten(1).softmax(-1).reshape(both.shape)


def risks(probabilities: Tensor, taxonomy: Taxonomy) -> list[Risk]:
    """Return a verdict for each row of `n x types x levels`: the likeliest type, and the likeliest level of that type."""
    by_type = probabilities.sum(2)
    kinds = by_type.argmax(1).tolist()
    levels = probabilities.argmax(2)
    return [
        Risk(
            type=taxonomy.types[kind],
            level=int(levels[i, kind]),
            p_unsafe=float(1 - by_type[i, taxonomy.safe_type]),
            p_types=dict(zip(taxonomy.types, by_type[i].tolist(), strict=True)),
            levels=dict(zip(taxonomy.types, levels[i].tolist(), strict=True)),
        )
        for i, kind in enumerate(kinds)
    ]


def fit_temperature(logits: Tensor, classes: Tensor) -> float:
    """Return the temperature that makes held-out `classes`, `n`, likeliest under `logits / T`, `n x classes`."""
    grid = torch.logspace(-1.5, 1.5, 301, dtype=torch.float64)
    losses = torch.stack([functional.cross_entropy(logits.double() / t, classes) for t in grid])
    return float(grid[int(losses.argmin())])


def calibration_error(probabilities: Tensor, classes: Tensor, bins: int = BINS) -> float:
    """Return the expected calibration error: |accuracy - confidence| by bins of confidence, weighted by their sizes.

    Args:
        probabilities: `n x classes`.
        classes: what is right, `n`.
        bins: of equal width.
    """
    confidence, said = probabilities.max(1)
    right = (said == classes).double()
    which = (confidence * bins).long().clamp(0, bins - 1)
    error = 0.0
    for b in range(bins):
        here = which == b
        if bool(here.any()):
            error += float(here.double().mean() * (right[here].mean() - confidence[here].mean()).abs())
    return error


def stacked(rows: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Join batches of (type logits, level logits)."""
    return torch.cat([a for a, _ in rows]), torch.cat([b for _, b in rows])
