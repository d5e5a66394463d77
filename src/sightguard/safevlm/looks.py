"""Looks at held-out data while a SafeVLM is trained: the head by type and level, and over-refusal beside the plain model."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sightguard.safevlm.metrics import classification, rate
from sightguard.safevlm.verdict import calibration_error, fit_temperature, joint, stacked

if TYPE_CHECKING:
    import torch

    from sightguard.data.records import Record
    from sightguard.data.taxonomy import Taxonomy
    from sightguard.safevlm.model import SafeVLM
    from sightguard.types import Generate, Judge


@dataclass(slots=True)
class HeldOut:
    """Held-out records, and what the plain model makes of the benign ones."""

    records: Sequence[Record]
    judge: Judge
    checked: int
    """How many benign requests are answered at a look."""
    refused_before: int | None = field(default=None)

    def benign(self, taxonomy: Taxonomy) -> list[Record]:
        """Return the benign records that are answered."""
        return [record for record in self.records if record.type == taxonomy.safe_type][: self.checked]

    def over_refusal(self, safe: SafeVLM) -> dict[str, Any]:
        """Return how often benign requests are refused, and how often the plain model refuses the same ones."""
        chosen = self.benign(safe.taxonomy)
        if self.refused_before is None:
            self.refused_before = self._refused(safe.vlm, chosen)
        return {
            **rate(self._refused(safe, chosen), len(chosen)),
            "before": self.refused_before / len(chosen),
            "judge": getattr(self.judge, "name", type(self.judge).__name__),
        }

    def _refused(self, generate: Generate, records: Sequence[Record]) -> int:
        samples = [record.sample for record in records]
        answers = generate(samples)
        verdicts = (self.judge(sample, answer) for sample, answer in zip(samples, answers, strict=True))
        return sum(verdict.outcome == "refused" for verdict in verdicts)


def head_logits(safe: SafeVLM, records: Sequence[Record]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the head's logits on records, `n x types` and `n x levels`."""
    samples, size = [record.sample for record in records], safe.vlm.batch
    return stacked([safe.logits(samples[i : i + size]) for i in range(0, len(samples), size)])


def head_figures(safe: SafeVLM, records: Sequence[Record], logits: tuple[torch.Tensor, torch.Tensor]) -> dict[str, Any]:
    """Return the figures of the head by type and by level, from the joint probability."""
    probabilities = joint(*logits, safe.taxonomy.safe_type, safe.temperatures)
    kinds = probabilities.sum(2).argmax(1)
    levels = probabilities.argmax(2)[range(len(records)), kinds]
    return {
        "type": classification([record.type for record in records], kinds.tolist(), safe.taxonomy.types),
        "level": classification([record.level for record in records], levels.tolist(), safe.taxonomy.levels),
    }


def fitted_temperatures(safe: SafeVLM, records: Sequence[Record]) -> tuple[tuple[float, float], dict[str, Any]]:
    """Fit the temperatures on a random half of the held-out records and measure calibration on the rest, before and after."""
    import torch

    mixed = list(records)
    random.Random("temperatures").shuffle(mixed)
    types, levels = head_logits(safe, mixed)
    truth = torch.tensor([[record.type, record.level] for record in mixed])
    found = (fit_temperature(types[::2], truth[::2, 0]), fit_temperature(levels[::2], truth[::2, 1]))
    rest = (types[1::2], levels[1::2])

    def error(temperatures: tuple[float, float]) -> float:
        probabilities = joint(*rest, safe.taxonomy.safe_type, temperatures).sum(2)
        return calibration_error(probabilities, truth[1::2, 0])

    return found, {"n": len(rest[0]), "ece_before": error((1.0, 1.0)), "ece_after": error(found)}
