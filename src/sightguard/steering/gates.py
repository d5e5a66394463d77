"""When VLM-Guard acts: a score along the first safety direction, against a threshold that says "this request is harmful"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from sightguard.errors import DataError

Source = Literal["text", "image", "either", "always"]
SOURCES: tuple[Source, ...] = ("text", "image", "either", "always")
Rule = Literal["literal", "midpoint", "anchored", "calibrated"]
RULES: tuple[Rule, ...] = ("literal", "midpoint", "anchored", "calibrated")

ANCHORED_PERCENTILE = 98.0
"""About so large a share (in %) of benign picture prompts does not pass an anchored threshold, per layer."""


def anchored(midpoints: Tensor, benign: Tensor) -> Tensor:
    """Return the 98th percentile of benign scores per layer (between two prompts, interpolated), or the midpoint if higher.

    Args:
        midpoints: `layers`, halfway between the anchor means.
        benign: `layers x n`, scores of benign picture prompts with the picture removed.
    """
    _check(benign)
    return torch.maximum(midpoints, torch.quantile(benign.double(), ANCHORED_PERCENTILE / 100, dim=1).float())


def calibrated(harmful: Tensor, benign: Tensor, *, max_false_fire: float) -> Tensor:
    """Return, per layer, the threshold that fires on most harmful prompts among those that fire on at most `max_false_fire` of benign.

    A threshold stands halfway between two scores. Of equally good ones that with the fewest false fires is taken, then that in the
    widest gap.

    Args:
        harmful: `layers x n`, scores of harmful validation prompts.
        benign: `layers x n`, scores of benign validation prompts.
        max_false_fire: largest share of benign prompts on which the gate may fire, 0 to 1.
    """
    _check(benign)
    _check(harmful)
    return torch.tensor(
        [_best(h.double(), b.double(), max_false_fire) for h, b in zip(harmful, benign, strict=True)],
        dtype=torch.float32,
    )


def _best(harmful: Tensor, benign: Tensor, max_false_fire: float) -> float:
    edges = torch.cat([harmful, benign]).sort().values
    cuts = torch.cat([edges[:1] - 1, (edges[1:] + edges[:-1]) / 2, edges[-1:] + 1])
    false = (benign[None] > cuts[:, None]).double().mean(1)
    true = (harmful[None] > cuts[:, None]).double().mean(1)
    gaps = torch.cat([torch.zeros(1, dtype=edges.dtype), edges.diff(), torch.zeros(1, dtype=edges.dtype)])
    kept = false <= max_false_fire
    kept &= true == true[kept].max()
    kept &= false == false[kept].min()
    return float(cuts[torch.where(kept, gaps, -1.0).argmax()])


def _check(scores: Tensor) -> None:
    if scores.ndim != 2 or scores.shape[1] == 0:
        raise DataError(f"expected scores of at least one prompt, layers x n; got shape {tuple(scores.shape)}")


def fires(source: Source, text: Tensor | None, image: Tensor, thresholds: tuple[float, float]) -> Tensor:
    """Return which prompts the gate fires on, `n`, bool.

    Args:
        source: which score decides.
        text: `n`, scores of the text-only reference; may be None where `source` does not need it.
        image: `n`, scores of the states that are about to be edited.
        thresholds: (for text, for image).
    """
    if source == "always":
        return torch.ones_like(image, dtype=torch.bool)
    by_image = image > thresholds[1]
    if source == "image":
        return by_image
    assert text is not None
    by_text = text.to(image.device) > thresholds[0]
    return by_text if source == "text" else by_text | by_image


def accuracy(fired_harmful: Sequence[bool] | Tensor, fired_benign: Sequence[bool] | Tensor) -> float:
    """Return the balanced accuracy of a gate."""
    harmful, benign = torch.as_tensor(fired_harmful).double(), torch.as_tensor(fired_benign).double()
    return float((harmful.mean() + 1 - benign.mean()) / 2)
