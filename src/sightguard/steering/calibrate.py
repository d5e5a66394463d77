"""Sets the thresholds of VLM-Guard's gate from validation prompts: states only, no generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sightguard.evaluate.statistics import auroc, wilson
from sightguard.steering.gates import Rule, anchored, calibrated, fires
from sightguard.steering.memory import Memory
from sightguard.steering.method import Reading, text_rows
from sightguard.steering.references import query_states
from sightguard.steering.splits import refuse_test

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

    def telling(self, guard: VlmGuard) -> Tensor:
        """Return the benign prompts on which a firing gate matters, `n`, bool: all, or where `guard` spares text those with a picture."""
        benign = ~self.harmful
        pictured = benign & self.pictured
        return pictured if guard.spares_text and pictured.any() else benign

    def areas(self, guard: VlmGuard) -> list[float]:
        """Return per layer how well the reference's score ranks harmful above telling benign prompts (area under the ROC curve)."""
        kept = self.harmful | self.telling(guard)
        return [auroc(scores[kept].tolist(), self.harmful[kept].tolist()) for scores in self.text]

    def thresholds(self, guard: VlmGuard, rule: Rule, *, max_false_fire: float) -> dict[int, tuple[float, float]]:
        """Return the thresholds of `rule` at every fitted layer: (reference, image state)."""
        sides = [self._limits(scores, guard, rule, max_false_fire) for scores in (self.text, self.image)]
        return {layer: (text, image) for layer, text, image in zip(self.layers, *sides, strict=True)}

    def fired(self, guard: VlmGuard) -> tuple[bool, ...]:
        """Return where the gate of `guard` fires, layer by layer: guards of one shape that fire alike answer alike.

        An image gate at a second edited layer reads what the first has left; that is not foreseen here.
        """
        rows = [self.layers.index(layer) for layer in guard.layers]
        pairs = zip(self.text[rows], self.image[rows], guard.limits(), strict=True)
        return tuple(fired for text, image, limit in pairs for fired in fires(guard.gate, text, image, limit).tolist())

    def curve(self, guard: VlmGuard, points: int = 101) -> dict[str, list[float]]:
        """Return the gate's rates at the last layer of `guard` over thresholds, each with its 95 % Wilson interval, for the trade-off figure."""
        scores = self.text[self.layers.index(guard.layers[-1])].double()
        cuts = torch.quantile(scores, torch.linspace(0, 1, points, dtype=torch.float64)).unique()
        fired = scores[None] > cuts[:, None]
        curve = {"threshold": cuts.tolist()}
        for name, among in (("false_positive", self.telling(guard)), ("true_positive", self.harmful)):
            counts, n = fired[:, among].sum(1).tolist(), int(among.sum())
            bands = [wilson(count, n) for count in counts]
            curve[name] = [count / n for count in counts]
            curve[f"{name}_low"] = [band.low for band in bands]
            curve[f"{name}_high"] = [band.high for band in bands]
        return curve

    def _limits(self, scores: Tensor, guard: VlmGuard, rule: Rule, max_false_fire: float) -> list[float]:
        midpoints, benign = guard.directions.midpoints, self.telling(guard)
        if rule == "anchored":
            return anchored(
                midpoints, scores[:, benign & self.pictured if (benign & self.pictured).any() else benign]
            ).tolist()
        if rule == "calibrated":
            return calibrated(scores[:, self.harmful], scores[:, benign], max_false_fire=max_false_fire).tolist()
        return (torch.zeros_like(midpoints) if rule == "literal" else midpoints).tolist()


def score(
    vlm: VLM,
    guards: Sequence[VlmGuard],
    harmful: Sequence[Sample],
    benign: Sequence[Sample],
    memory: Memory | None = None,
) -> list[Scores]:
    """Read validation prompts once, as text and as a whole, and score them at every fitted layer, for each of `guards`.

    Args:
        vlm: the model.
        guards: differ in their directions only; reference and layers are those of the first.
        harmful: prompts to be refused.
        benign: prompts to be answered.
        memory: share what was read with others on the same model.

    Raises:
        DataError: a prompt of a test split; a sample that names no source cannot be told.
    """
    from sightguard.models.states import prompt_states

    samples, first = [*harmful, *benign], guards[0]
    refuse_test(samples, "calibrating")
    layers = first.directions.layers
    text = tuple(text_rows(vlm, samples))
    reading = Reading(vlm.anatomy, vlm.pad, text, tuple(samples), vlm, memory if memory is not None else Memory())
    whole = prompt_states(vlm, samples, layers)
    same = first.reference == "same_input"
    query = whole if same else query_states(reading, first.reference_rows(reading), layers)
    return [
        Scores(
            layers=layers,
            text=guard.directions.scores(query),
            image=guard.directions.scores(whole),
            harmful=torch.tensor([True] * len(harmful) + [False] * len(benign)),
            pictured=torch.tensor([bool(sample.images) for sample in samples]),
        )
        for guard in guards
    ]


def with_thresholds(guard: VlmGuard, scores: Scores, rule: Rule, *, max_false_fire: float = 0.01) -> VlmGuard:
    """Return `guard` with the thresholds of `rule`."""
    return replace(guard, threshold=rule, thresholds=scores.thresholds(guard, rule, max_false_fire=max_false_fire))
