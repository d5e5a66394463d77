"""What a picture does to the states, layer by layer: the figures of `diagnose.json`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from sightguard.diagnose.folds import folds
from sightguard.diagnose.probe import probe_scores
from sightguard.diagnose.silhouette import silhouette
from sightguard.evaluate.statistics import auroc, balanced_accuracy
from sightguard.steering.directions import NOISE
from sightguard.steering.transfer import unit_difference

SUBSPACE = 4
"""Directions of the safety subspace, as many as a guard edits by default."""


@dataclass(frozen=True)
class States:
    """Last-prompt-token states of the same pairs without and with a picture: each `layers x pairs x hidden`, float32."""

    text_harmful: Tensor
    text_harmless: Tensor
    image_harmful: Tensor
    image_harmless: Tensor

    @property
    def pairs(self) -> int:
        return int(self.text_harmful.shape[1])

    @property
    def depth(self) -> int:
        return int(self.text_harmful.shape[0])

    def text(self, layer: int) -> Tensor:
        """Return the text-only states of one layer, `2·pairs x hidden`: the harmful ones, then the harmless."""
        return torch.cat([self.text_harmful[layer], self.text_harmless[layer]])

    def image(self, layer: int) -> Tensor:
        """Return the states with the picture, as `text` does."""
        return torch.cat([self.image_harmful[layer], self.image_harmless[layer]])

    @property
    def labels(self) -> Tensor:
        """Which rows of `text` and `image` are harmful."""
        return torch.arange(2 * self.pairs) < self.pairs


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer; rates, areas and shares from 0 to 1, cosines from −1 to 1.

    Areas under the ROC curve, accuracies and probes are means over folds: fitted on some pairs, scored on others.
    """

    layer: int
    auc_text: float
    """Text-only states along the text direction."""
    auc_image: float
    """States with the picture along the same text direction."""
    probe_auc_text: float
    probe_auc_image: float
    """A linear probe fitted and scored on states with the picture."""
    cosine_text_image: float
    """Between the directions fitted on text and with the picture, on the same pairs."""
    shift_norm: float
    """Length of the mean move that the picture makes."""
    shift_share_in_safety_subspace: float
    """Share of its squared length inside the first four directions of the text-only differences."""
    cosine_text_halves: float
    """Between text directions of two halves of the pairs: how firmly so many pairs fix a direction."""
    balanced_accuracy_text: float
    """Of a threshold half-way between the text-only means, on text-only states."""
    balanced_accuracy_image: float
    """Of the same threshold on states with the picture."""
    silhouette_text: float
    silhouette_image: float
    shift_cosine: float
    """Between the move and the text direction; below 0 it goes towards harmless."""
    harmful_moved: float
    """How far the picture moves harmful prompts along the text direction, in units of the distance between the text-only means."""


def measure(states: States, *, seed: int = 0, progress: Callable[[int], None] | None = None) -> list[Layer]:
    """Return the figures of every layer.

    Args:
        states: of at least 8 pairs.
        seed: of the folds.
        progress: called with the number of layers done.
    """
    found = []
    for layer in range(states.depth):
        found.append(_layer(states, layer, seed))
        if progress is not None:
            progress(layer + 1)
    return found


def safety_subspace(differences: Tensor, rank: int = SUBSPACE) -> Tensor:
    """Return the first `rank` right singular vectors of paired differences as rows, `k x hidden`, float64; fewer where they span fewer.

    Args:
        differences: `pairs x hidden`, harmful minus harmless, not centred.
        rank: at most so many.
    """
    _, singular, rows = torch.linalg.svd(differences.double(), full_matrices=False)
    kept: Tensor = rows[singular > NOISE * singular.norm()][:rank]
    return kept


def share_inside(shift: Tensor, subspace: Tensor) -> float:
    """Return the share of the squared length of `shift` inside `subspace`, 0 to 1; 0 where there is no shift.

    Args:
        shift: `hidden`.
        subspace: `k x hidden`, orthonormal rows.
    """
    length = shift.double().square().sum()
    return 0.0 if length == 0 else min(1.0, float((subspace @ shift.double()).square().sum() / length))


def _layer(states: States, layer: int, seed: int) -> Layer:
    sides = [side[layer].double() for side in (states.text_harmful, states.text_harmless)]
    seen = [side[layer].double() for side in (states.image_harmful, states.image_harmless)]
    shift = torch.cat(seen).mean(0) - torch.cat(sides).mean(0)
    direction, with_picture = _direction(*sides), _direction(*seen)
    halves = [_direction(*(side[start::2] for side in sides)) for start in (0, 1)]
    gap = float((sides[0].mean(0) - sides[1].mean(0)).norm())
    moved = float((seen[0].mean(0) - sides[0].mean(0)) @ direction)
    length = float(shift.norm())
    texts, images = states.text(layer), states.image(layer)
    return Layer(
        layer=layer,
        **_held_out(sides, seen, seed),
        cosine_text_image=float(direction @ with_picture),
        cosine_text_halves=float(halves[0] @ halves[1]),
        shift_norm=length,
        shift_cosine=float(shift @ direction) / length if length else 0.0,
        shift_share_in_safety_subspace=share_inside(shift, safety_subspace(sides[0] - sides[1])),
        harmful_moved=moved / gap if gap else 0.0,
        silhouette_text=silhouette(texts, states.labels),
        silhouette_image=silhouette(images, states.labels),
    )


def _held_out(sides: list[Tensor], seen: list[Tensor], seed: int) -> dict[str, float]:
    """Return what is fitted on some pairs and scored on others, each the mean over the folds."""
    rows: dict[str, list[float]] = {}
    for fitted, held_out in folds(len(sides[0]), seed):
        direction = _direction(*(side[fitted] for side in sides))
        middle = float(sum(side[fitted].mean(0) @ direction for side in sides) / 2)
        labels = [True] * len(held_out) + [False] * len(held_out)
        known = torch.tensor([True] * len(fitted) + [False] * len(fitted))
        for name, part in (("text", sides), ("image", seen)):
            fresh = torch.cat([side[held_out] for side in part])
            scores = (fresh @ direction).tolist()
            probed = probe_scores(torch.cat([side[fitted] for side in part]), known, fresh).tolist()
            figures = {
                f"auc_{name}": auroc(scores, labels),
                f"balanced_accuracy_{name}": balanced_accuracy(scores, labels, threshold=middle),
                f"probe_auc_{name}": auroc(probed, labels),
            }
            for key, value in figures.items():
                rows.setdefault(key, []).append(value)
    return {name: fmean(values) for name, values in rows.items()}


def _direction(harmful: Tensor, harmless: Tensor) -> Tensor:
    return unit_difference(harmful[None], harmless[None])[0]
