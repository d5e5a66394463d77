"""What a picture does to the hidden states: separability by layer, and a plane to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sightguard.data.blank import pictured
from sightguard.evaluate.statistics import auroc, balanced_accuracy
from sightguard.steering.activations import capture
from sightguard.steering.steer import steer

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM
    from sightguard.steering.vlm_guard import VlmGuard
    from sightguard.types import Image, Sample


@dataclass(frozen=True)
class States:
    """Last-prompt-token states of one set of prompts, `layers x n x hidden`, and which of them are harmful."""

    text: Tensor
    blank: Tensor
    guarded: Tensor
    harmful: Tensor


def read(vlm: VLM, guard: VlmGuard, harmful: Sequence[Sample], benign: Sequence[Sample], blank: Image) -> States:
    """Read text-only prompts as they are, with a blank picture before the text, and with the picture under guard."""
    samples = [*harmful, *benign]
    shown = [pictured(sample, blank) for sample in samples]
    return States(
        text=capture(vlm, samples, images=False),
        blank=capture(vlm, shown),
        guarded=steer(vlm, guard).states(shown, vlm.anatomy.layers),
        harmful=torch.tensor([True] * len(harmful) + [False] * len(benign)),
    )


def separability(guard: VlmGuard, states: States) -> list[dict[str, float]]:
    """Return, per layer, how well V₁ ranks harmful above benign (AUROC) and what a threshold at the anchors' midpoint achieves."""
    labels = states.harmful.tolist()
    limits = guard.directions.midpoints.tolist()
    text, blank = (guard.directions.scores(part).tolist() for part in (states.text, states.blank))
    return [
        {
            "layer": layer,
            "auc_text": auroc(text[layer], labels),
            "auc_blank": auroc(blank[layer], labels),
            "balanced_accuracy_text": balanced_accuracy(text[layer], labels, threshold=limits[layer]),
            "balanced_accuracy_blank": balanced_accuracy(blank[layer], labels, threshold=limits[layer]),
        }
        for layer in guard.directions.layers
    ]
