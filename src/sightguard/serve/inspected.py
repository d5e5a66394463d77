"""What was found in several inputs, as if it had been one: of each thing the worst."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from sightguard.serve.job import Inspection, LayerGate, Proof
from sightguard.types import Risk


def as_one(found: Sequence[Inspection]) -> Proof:
    """Return the parts of all inputs together, the worst risk, and at each layer the gate that is furthest above its threshold."""
    inspected: Counter[str] = Counter()
    gates: dict[int, LayerGate] = {}
    for one in found:
        inspected.update(one.inspected)
        for gate in one.gate:
            gates[gate.layer] = max(gates.get(gate.layer, gate), gate, key=_margin)
    risks = [one.risk for one in found if one.risk is not None]
    return Proof(
        dict(inspected), risk=max(risks, key=_danger, default=None), gate=tuple(gates[layer] for layer in sorted(gates))
    )


def _danger(risk: Risk) -> tuple[int, float]:
    return risk.level, math.inf if math.isnan(risk.p_unsafe) else risk.p_unsafe


def _margin(gate: LayerGate) -> tuple[bool, float]:
    margin = gate.score - gate.threshold
    return gate.fired, -math.inf if math.isnan(margin) else margin
