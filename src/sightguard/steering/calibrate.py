"""Sets the thresholds of VLM-Guard's gate from validation prompts: states only, no generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sightguard.evaluate.statistics import auroc
from sightguard.steering.gates import Rule, anchored, calibrated, fires
from sightguard.steering.memory import Memory
from sightguard.steering.method import Reading, text_rows
from sightguard.steering.references import caption_rows, query_states

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM
    from sightguard.steering.vlm_guard import VlmGuard
    from sightguard.types import Sample


@dataclass(frozen=True)
class Scores:
    """Scores of validation prompts on the first direction, at every fitted layer.

    Args:
        layers: the fitted layers.
        text: `layers x n`, of the reference (text query or captioned query).
        image: `layers x n`, of the state of the whole prompt.
        harmful: `n`, bool.
        pictured: `n`, bool, prompts that hold a picture.
    """

    layers: tuple[int, ...]
    text: Tensor
    image: Tensor
    harmful: Tensor
    pictured: Tensor

    def areas(self) -> list[float]:
        """Return per layer how well the reference's score ranks harmful above benign (area under the ROC curve)."""
        return [auroc(scores.tolist(), self.harmful.tolist()) for scores in self.text]

    def thresholds(self, guard: VlmGuard, rule: Rule, *, max_false_fire: float) -> tuple[tuple[float, float], ...]:
        """Return the thresholds of `rule` for the layers of `guard`: (reference, image state) per layer."""
        rows = [self.layers.index(layer) for layer in guard.layers]
        places = [guard.directions.layers.index(layer) for layer in guard.layers]
        return tuple(
            zip(
                self._limits(self.text[rows], guard.directions.midpoints[places], rule, max_false_fire),
                self._limits(self.image[rows], guard.directions.midpoints[places], rule, max_false_fire),
                strict=True,
            )
        )

    def fired(self, guard: VlmGuard) -> tuple[bool, ...]:
        """Return where the gate of `guard` fires, layer by layer: guards of one shape that fire alike answer alike."""
        rows = [self.layers.index(layer) for layer in guard.layers]
        pairs = zip(self.text[rows], self.image[rows], guard.limits(), strict=True)
        return tuple(fired for text, image, limit in pairs for fired in fires(guard.gate, text, image, limit).tolist())

    def curve(self, layer: int, points: int = 101) -> dict[str, list[float]]:
        """Return false-positive and true-positive rate of the gate at `layer` over thresholds, for the trade-off figure."""
        scores = self.text[self.layers.index(layer)].double()
        cuts = torch.quantile(scores, torch.linspace(0, 1, points, dtype=torch.float64)).unique()
        fired = scores[None] > cuts[:, None]
        return {
            "threshold": cuts.tolist(),
            "false_positive": fired[:, ~self.harmful].double().mean(1).tolist(),
            "true_positive": fired[:, self.harmful].double().mean(1).tolist(),
        }

    def _limits(self, scores: Tensor, midpoints: Tensor, rule: Rule, max_false_fire: float) -> list[float]:
        benign, harmful = scores[:, ~self.harmful], scores[:, self.harmful]
        if rule == "anchored":
            return anchored(midpoints, scores[:, ~self.harmful & self.pictured]).tolist()
        if rule == "calibrated":
            return calibrated(harmful, benign, max_false_fire=max_false_fire).tolist()
        return (torch.zeros_like(midpoints) if rule == "literal" else midpoints).tolist()


def score(
    vlm: VLM, guard: VlmGuard, harmful: Sequence[Sample], benign: Sequence[Sample], memory: Memory | None = None
) -> Scores:
    """Read validation prompts once, as text and as a whole, and score them at every fitted layer."""
    from sightguard.models.states import prompt_states

    samples = [*harmful, *benign]
    layers = guard.directions.layers
    text = tuple(text_rows(vlm, samples))
    reading = Reading(vlm.anatomy, vlm.pad, text, tuple(samples), vlm, memory if memory is not None else Memory())
    rows = caption_rows(reading, guard.caption_prompt) if guard.reference == "caption" else list(text)
    image = guard.directions.scores(prompt_states(vlm, samples, layers))
    same = guard.reference == "same_input"
    return Scores(
        layers=layers,
        text=image if same else guard.directions.scores(query_states(reading, rows, layers)),
        image=image,
        harmful=torch.tensor([True] * len(harmful) + [False] * len(benign)),
        pictured=torch.tensor([bool(sample.images) for sample in samples]),
    )


def with_thresholds(guard: VlmGuard, scores: Scores, rule: Rule, *, max_false_fire: float = 0.01) -> VlmGuard:
    """Return `guard` with the thresholds of `rule`."""
    return replace(guard, threshold=rule, thresholds=scores.thresholds(guard, rule, max_false_fire=max_false_fire))
