"""Safety directions: what the language model's states differ by between harmful and harmless requests, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from sightguard.errors import DataError, UnknownName, UsageError

Estimator = Literal["svd", "mean_difference"]
NOISE = 1e-6
"""Differences smaller than this share of all of them are rounding of float32 states, no direction."""
RANK = 64
"""Rows kept per layer unless told otherwise; where an edit stops is chosen later, by m."""
ESTIMATORS: tuple[Estimator, ...] = ("svd", "mean_difference")


@dataclass(frozen=True)
class Directions:
    """Orthonormal rows per layer, each pointing from harmless to harmful; fitted in float64, kept in float32.

    Args:
        layers: decoder blocks, 0-based, in the order of the first axis below.
        vectors: `layers x k x hidden`, orthonormal rows, strongest first (for the mean difference: after the first).
        energy: `layers x k`, share of the squared singular values that each row holds.
        means: `layers x 2`, mean projection on the first row of the harmless and of the harmful anchors.
        provenance: what they were fitted on.
    """

    layers: tuple[int, ...]
    vectors: Tensor
    energy: Tensor
    means: Tensor
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("vectors", "means"):
            if not torch.isfinite(getattr(self, name)).all():
                raise DataError(
                    f"the {name} of the safety directions hold a number that is not finite, so no gate could work"
                )

    @property
    def rank(self) -> int:
        """How many rows each layer has."""
        return int(self.vectors.shape[1])

    @property
    def midpoints(self) -> Tensor:
        """Halfway between the two anchor means on the first row, per layer."""
        return self.means.mean(1)

    def at(self, layers: Sequence[int], rank: int) -> Tensor:
        """Return the first `rank` rows at `layers`, `layers x rank x hidden`."""
        if not 1 <= rank <= self.rank:
            raise UsageError(
                f"m must be between 1 and {self.rank}, the number of directions that were fitted; got {rank}"
            )
        return self.vectors[self._rows(layers), :rank]

    def scores(self, states: Tensor, layers: Sequence[int] | None = None) -> Tensor:
        """Project `layers x n x hidden` on the first row of each layer; returns `layers x n`."""
        first = self.vectors[self._rows(layers if layers is not None else self.layers), 0]
        return torch.einsum("lnd,ld->ln", states.float(), first.to(states.device))

    def _rows(self, layers: Sequence[int]) -> list[int]:
        places = {layer: i for i, layer in enumerate(self.layers)}
        for layer in layers:
            if layer not in places:
                raise UnknownName("layer", layer, self.layers, "These are the layers that directions were fitted for.")
        return [places[layer] for layer in layers]


def fit_directions(
    harmful: Tensor,
    harmless: Tensor,
    *,
    layers: Sequence[int],
    rank: int = RANK,
    estimator: Estimator = "svd",
    provenance: Mapping[str, Any] | None = None,
) -> Directions:
    """Fit directions on paired states (VLM-Guard, section on the safety steering direction).

    svd: A = H⁻ − H⁺ (`pairs x hidden`, not centred), A = U Σ Vᵀ; the rows are the first right singular vectors.
    mean_difference: the first row is the unit difference of the two means; the others are the first right singular vectors of what
        it leaves of A. Not in the paper: with this one the first row, on which the gate stands, always separates the means.

    Args:
        harmful: `layers x pairs x hidden`.
        harmless: the same shape, row i being the twin of row i.
        layers: which decoder blocks the first axis holds.
        rank: at most so many rows per layer; fewer where the differences span fewer, at any layer.
        estimator: "svd" or "mean_difference".
        provenance: kept beside the result.

    Raises:
        DataError: the sets are not paired, or a layer shows no difference at all.
    """
    if estimator not in ESTIMATORS:
        raise UnknownName("estimator", estimator, ESTIMATORS)
    if harmful.shape != harmless.shape or harmful.ndim != 3:
        raise DataError(
            f"expected paired states of one shape, layers x pairs x hidden; got {tuple(harmful.shape)} harmful and {tuple(harmless.shape)} harmless"
        )
    difference = (harmful.double() - harmless.double()).cpu()
    found = [_rows_of(layer, rank, estimator) for layer in difference]
    kept = min(len(rows) for rows, _ in found)
    fitted = [(rows[:kept], energy[:kept]) for rows, energy in found]
    vectors = torch.stack([rows for rows, _ in fitted])
    projected = [
        torch.einsum("lnd,ld->l", side.double().cpu(), vectors[:, 0]) / side.shape[1] for side in (harmless, harmful)
    ]
    return Directions(
        layers=tuple(layers),
        vectors=vectors.float(),
        energy=torch.stack([energy for _, energy in fitted]).float(),
        means=torch.stack(projected, dim=1).float(),
        provenance=dict(provenance or {}),
    )


def _rows_of(difference: Tensor, rank: int, estimator: Estimator) -> tuple[Tensor, Tensor]:
    """Return unit rows and their share of the energy for one layer; `difference` is `pairs x hidden`, float64."""
    mean = difference.mean(0)
    if not torch.isfinite(difference).all() or difference.norm() == 0:
        raise DataError(
            "the harmful and the harmless states of a layer do not differ (or are not finite), so there is no direction to fit"
        )
    first = torch.empty(0, difference.shape[1], dtype=difference.dtype)
    if estimator == "mean_difference":
        if mean.norm() <= NOISE * difference.norm():
            raise DataError(
                "the harmful and the harmless states of a layer have the same mean, so there is no mean difference to fit"
            )
        first = (mean / mean.norm())[None]
    _, singular, rows = torch.linalg.svd(difference - difference @ first.T @ first, full_matrices=False)
    rows = rows[singular > NOISE * difference.norm()]
    # an SVD leaves signs open; harmful is positive by convention, so that the gate means something
    signs = torch.where(rows @ mean < 0, -1.0, 1.0)
    rows = torch.cat([first, rows * signs[:, None]])[:rank]
    return rows, (difference @ rows.T).square().sum(0) / difference.square().sum()
