"""The safety head of a trained SafeVLM: vision tower, safety projector and head look at a pair; no decoder block runs.

SafeVLM / PSA-VLM (arXiv 2405.13581, 2411.11543) found risky content in open data sets with it. The head that reads the question
("pooled") judges picture and words together; the released reading ("first") judges the picture alone. Of a conversation every turn of the
user is read alone too, and the riskiest reading counts, as in `SafeVLM`; an audit has no other turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sightguard.artifacts import sha256
from sightguard.audit.inspector import Finding, Pair
from sightguard.safevlm.features import prepared, read_features
from sightguard.safevlm.lean import Lean
from sightguard.safevlm.readings import MOST
from sightguard.types import Message, Sample

if TYPE_CHECKING:
    from sightguard.data.taxonomy import Taxonomy
    from sightguard.safevlm.model import SafeVLM


@dataclass(frozen=True, slots=True)
class Prepared:
    """A pair as the vision tower takes it."""

    texts: tuple[str, ...]
    """Of which each is read alone."""
    inputs: tuple[dict[str, Any], ...]
    """What the model's image processor makes of each picture, on the CPU."""


class SafetyHeadInspector:
    """Looks with a safety head.

    Args:
        safe: a trained SafeVLM.
        batch: pairs a pass.
    """

    def __init__(self, safe: SafeVLM, *, batch: int = 32) -> None:
        self._safe, self._batch = safe, batch
        self._lean = Lean.of(safe.vlm)

    @property
    def taxonomy(self) -> Taxonomy:
        return self._safe.taxonomy

    @property
    def batch(self) -> int:
        return self._batch

    def about(self) -> dict[str, Any]:
        """Return the model, the digest of the safety modules, and the temperatures."""
        weights = b"".join(
            tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
            for _, tensor in sorted(self._safe.modules.state_dict().items())
        )
        return {
            "inspector": "safety head",
            "model": asdict(self._safe.vlm.fingerprint),
            "modules_sha256": sha256(weights),
            "modules_dtype": str(self._safe.modules.head_tokens.dtype).removeprefix("torch."),
            "query": self._safe.modules.shape.query,
            "readings": MOST,
            "temperatures": list(self._safe.temperatures),
        }

    def prepare(self, pair: Pair) -> Prepared:
        """Scale the pictures of a pair."""
        turns = tuple(Message("user", (turn,)) for turn in pair.turns or (pair.text,))
        texts = self._safe.read(Sample(pair.id, turns))
        return Prepared(texts, tuple(prepared(self._safe.vlm, [picture]) for picture in pair.pictures))

    @torch.no_grad()
    def inspect(self, prepared: Sequence[Prepared]) -> list[Finding]:
        """Return the head's verdicts."""
        safe = self._safe
        found = iter(self._features([inputs for one in prepared for inputs in one.inputs]))
        pictures = [[next(found) for _ in one.inputs] for one in prepared]
        both, told = safe.judged(pictures, [one.texts for one in prepared])
        by_level = both.sum(1).tolist()
        return [
            Finding(risk.type, risk.level, risk.p_types, tuple(of_levels), risk.p_unsafe)
            for risk, of_levels in zip(told, by_level, strict=True)
        ]

    def _features(self, inputs: list[dict[str, Any]]) -> list[Tensor]:
        """Return the features of pictures, in one pass where they are of one size."""
        together = _joined(inputs) if len(inputs) > 1 else inputs[0]
        if together is not None:
            found = read_features(self._safe.vlm, together, len(inputs), self._lean)
            if found is not None:
                return found
        return [self._features([one])[0] for one in inputs]


def _joined(inputs: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the inputs of several pictures as those of one batch; None where their shapes differ."""
    first = inputs[0]
    for name, value in first.items():
        if not isinstance(value, Tensor) or any(one[name].shape[1:] != value.shape[1:] for one in inputs):
            return None
    return {name: torch.cat([one[name] for one in inputs]) for name in first}
