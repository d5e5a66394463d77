"""Whether a direction that was fitted on text still stands for harm where there is a picture.

A guard writes along directions of the text-only states. If the states with a picture tell harmful from harmless along other ones, what
it writes means nothing there, and neither does a score along them. Two figures say so, and either may: the area under the ROC curve
of the scores with a picture (chance is 0.5), and the cosine between the text direction and the difference of means with a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sightguard.data.blank import blank, pictured
from sightguard.evaluate.statistics import auroc
from sightguard.steering.activations import capture
from sightguard.steering.splits import refuse_test

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM
    from sightguard.steering.choose import Choice
    from sightguard.steering.vlm_guard import VlmGuard
    from sightguard.types import Image, Sample

NEAR_CHANCE = 0.55
"""Area under the ROC curve up to which a direction counts as not telling harmful from harmless. It is low since a gate that reads the
text alone needs no more: on the embedded models, where such a guard works, the first direction has 0.58 or more beside a picture."""
LOW_COSINE = 0.3
"""Cosine up to which two directions count as different. On the embedded models it is 0.44 or more; with their states turned at random
beside a picture, so that nothing transfers, 0.12 or less, while the area reaches 0.61 by chance: this one decides."""
HANDFUL = 32
"""Pairs that `fit` reads for this check, at most."""
FEWEST = 8
"""Pairs below which both figures are mostly chance, so that nothing is said."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """What is left of one text direction beside a picture."""

    auc: float
    """Area under the ROC curve of the scores along the text direction, prompts with a picture, 0 to 1."""
    cosine: float
    """Between the text direction and the difference of means with a picture, −1 to 1."""

    @property
    def holds(self) -> bool:
        return self.auc > NEAR_CHANCE and self.cosine > LOW_COSINE


def unit_difference(harmful: Tensor, harmless: Tensor) -> Tensor:
    """Return the unit difference of means from harmless to harmful, `layers x hidden`, float64; zeros where the means are the same.

    Args:
        harmful: `layers x n x hidden`.
        harmless: `layers x n x hidden`.
    """
    difference = harmful.double().mean(1) - harmless.double().mean(1)
    unit: Tensor = difference / difference.norm(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    return unit


def transfer(directions: Tensor, harmful: Tensor, harmless: Tensor) -> list[Transfer]:
    """Return, per layer, what is left of text directions on states with a picture that they were not fitted on.

    Args:
        directions: `layers x hidden`, unit, from harmless to harmful.
        harmful: `layers x n x hidden`, with a picture.
        harmless: the same shape.
    """
    own = unit_difference(harmful, harmless)
    labels = [True] * harmful.shape[1] + [False] * harmless.shape[1]
    scores = torch.einsum("lnd,ld->ln", torch.cat([harmful, harmless], dim=1).double(), directions.double())
    cosines = (own * directions.double()).sum(1).tolist()
    return [Transfer(auroc(row, labels), cosine) for row, cosine in zip(scores.tolist(), cosines, strict=True)]


def with_transfer(
    choice: Choice, vlm: VLM, pairs: Sequence[tuple[Sample, Sample]], *, image: Image | None = None
) -> Choice:
    """Return the choice with what its guard's directions are worth beside a blank picture in `guard.calibration["transfer"]`.

    Args:
        choice: with the guard to check.
        vlm: the model that it was fitted on.
        pairs: (harmful, harmless), none of which the directions were fitted on; at most 32 are read.
        image: the picture; default a blank one.
    """
    guard = choice.guard
    found = {"transfer": check(vlm, guard, pairs[:HANDFUL], image or blank())}
    return replace(choice, guard=replace(guard, calibration={**guard.calibration, **found}))


def check(vlm: VLM, guard: VlmGuard, pairs: Sequence[tuple[Sample, Sample]], image: Image) -> dict[str, Any]:
    """Return how the first direction of `guard` does at its layers on `pairs` beside `image`, as plain data.

    `{"pairs", "layers": [{"layer", "auc_image", "cosine_text_image"}], "transfers", "warning"}`; `warning` is null where it transfers at
    every edited layer, and else says where it does not and what to try. With fewer than 8 pairs nothing is read: `transfers` is null,
    and the warning says so.

    Raises:
        DataError: a prompt of a test split.
    """
    refuse_test((sample for pair in pairs for sample in pair), "checking a guard")
    if len(pairs) < FEWEST:
        told = (
            f"it was not checked whether the direction holds beside a picture: that needs {FEWEST} pairs that nothing was fitted on; "
            f"there are {len(pairs)}"
        )
        return {"pairs": len(pairs), "layers": [], "transfers": None, "warning": told}
    states = capture(vlm, [pictured(sample, image) for pair in pairs for sample in pair], layers=guard.layers).cpu()
    found = transfer(guard.directions.at(guard.layers, 1)[:, 0], states[:, 0::2], states[:, 1::2])
    failing = {layer: part for layer, part in zip(guard.layers, found, strict=True) if not part.holds}
    return {
        "pairs": len(pairs),
        "layers": [
            {"layer": layer, "auc_image": part.auc, "cosine_text_image": part.cosine}
            for layer, part in zip(guard.layers, found, strict=True)
        ],
        "transfers": not failing,
        "warning": _warning(failing, len(pairs)) if failing else None,
    }


def _warning(failing: dict[int, Transfer], pairs: int) -> str:
    told = "; ".join(
        f"layer {layer}: area under the ROC curve {part.auc:.2f}, cosine {part.cosine:.2f}"
        for layer, part in failing.items()
    )
    return (
        f"the direction that was fitted on text does not transfer to prompts with a picture, so this guard may do nothing or harm there "
        f"({told}; {pairs} pairs beside a blank picture; asked for: more than {NEAR_CHANCE} and {LOW_COSINE}). "
        "`sightguard diagnose` shows at which layers it does transfer; if at none, try a direction that is fitted on prompts with a picture, "
        "or training (`sightguard train`)"
    )
