"""Null-space constraint: safety directions along which benign states hardly reach, so that an edit leaves benign states nearly alone.

After AlphaSteer (AlphaLab-USTC) and NullSteer (arXiv 2603.22094): P projects on what benign states leave free, and the directions are fitted on
states times P. All edits of VLM-Guard happen inside its directions, so with rows inside P, for a benign state h and its reference q,

    ‖h* − h‖ ≤ ‖hP‖ + α‖qP‖        and over the benign states read, the mean of ‖hP‖² is at most `tolerance` times that of ‖h‖²

so that even without a gate their root mean square moves by at most (1 + α)·√tolerance of its own length (per half: prompts, references).

Differences from the papers: they learn a matrix by ridge regression inside the null space; here VLM-Guard's own directions are fitted inside it,
and its reference says how far to go. They keep a share of the dimensions (0.3 to 0.6); here what is kept out is said as energy, which bounds
the movement whatever the width of the model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sightguard.errors import DataError, UsageError

TOLERANCE = 0.01


def benign_span(states: Tensor, tolerance: float = TOLERANCE) -> list[Tensor]:
    """Return, per layer, the fewest orthonormal rows that hold all but `tolerance` of the energy of benign states: `r x hidden`, float64.

    Args:
        states: `layers x n x hidden`, not centred: an edit has to leave the states alone, not their deviations.
        tolerance: share of the squared length that may stay outside, above 0 and below 1.
    """
    if not 0 < tolerance < 1:
        raise UsageError(f"tolerance lies above 0 and below 1; got {tolerance}")
    if states.ndim != 3 or states.shape[1] == 0:
        raise DataError(f"expected benign states, layers x n x hidden; got shape {tuple(states.shape)}")
    spans = []
    for layer in states.double().cpu():
        _, singular, rows = torch.linalg.svd(layer, full_matrices=False)
        left = 1 - singular.square().cumsum(0) / singular.square().sum()
        spans.append(rows[: int((left > tolerance).sum()) + 1])
    return spans


def outside(states: Tensor, spans: Sequence[Tensor]) -> Tensor:
    """Return states times P, what they hold outside the span of each layer; the same shape, float64."""
    parts = [layer - layer @ span.T @ span for layer, span in zip(states.double().cpu(), spans, strict=True)]
    return torch.stack(parts)
