"""The `sightguard` block of a response, and the same in one line of its header: what of this request was inspected, and what was seen."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from sightguard.serve.job import GuardId, Inspection, LayerGate, Proof
from sightguard.types import Risk

HEADER = "x-sightguard"
KINDS = ("text", "image")
_WORD, _METHODS = 64, 8
"""Characters of a name, and names of methods, in the header."""


def block(
    guard: GuardId, received: Mapping[str, int], proof: Proof | None, *, rule: str | None = None
) -> dict[str, Any]:
    """Return the block.

    Args:
        guard: what stands between the client and the model.
        received: parts of the request by kind.
        proof: what the guard saw; None where it saw nothing, because it raised.
        rule: what refused in the model's place, which overrules the policy's.
    """
    proof = proof or Proof(inspected={})
    return {
        "guard": {"id": guard.id, "sha256": guard.sha256},
        **seen(received, proof),
        "rule": rule or proof.rule,
        "methods": list(proof.methods),
    }


def seen(received: Mapping[str, int], proof: Proof | Inspection) -> dict[str, Any]:
    """Return parts, verdict and gate: what a block and a result of moderation share."""
    return {
        "parts": {"received": _counts(received), "inspected": _counts(proof.inspected)},
        "verdict": verdict(proof.risk),
        "gate": gate(proof.gate),
    }


def verdict(risk: Risk | None) -> dict[str, Any] | None:
    """Return what the safety head says; None where there is no head, or no picture."""
    return None if risk is None else {"type": risk.type, "level": risk.level, "p_unsafe": _number(risk.p_unsafe)}


def gate(layers: Sequence[LayerGate]) -> dict[str, Any] | None:
    """Return the gate as a whole, by the layer that is furthest above its threshold, and layer by layer; None without a gate."""
    if not layers:
        return None
    # a score that is no number says nothing, so it counts as furthest below
    closest = max(layers, key=lambda one: margin if math.isfinite(margin := one.score - one.threshold) else -math.inf)
    return {
        "score": _number(closest.score),
        "threshold": _number(closest.threshold),
        "fired": any(one.fired for one in layers),
        "layers": [
            {
                "layer": one.layer,
                "score": _number(one.score),
                "threshold": _number(one.threshold),
                "fired": one.fired,
            }
            for one in layers
        ],
    }


def uninspected(received: Mapping[str, int], proof: Proof | Inspection) -> list[str]:
    """Return the kinds of which some part was received and not inspected; an answer may leave only where there are none.

    Example:
        >>> uninspected({"text": 1, "image": 2}, Proof(inspected={"text": 1, "image": 1}))
        ['image']
    """
    return [kind for kind in received if proof.inspected.get(kind, 0) < received[kind]]


def header(block: Mapping[str, Any]) -> str:
    """Return a block as one line of ASCII JSON, at most 2,048 characters: without the layers, long names cut."""
    gate = block["gate"] and {name: value for name, value in block["gate"].items() if name != "layers"}
    methods = [_short(name) for name in block["methods"]]
    more = [f"+{len(methods) - _METHODS}"] if len(methods) > _METHODS else []
    line = {
        "guard": {name: _short(value) for name, value in block["guard"].items()},
        "parts": block["parts"],
        "verdict": block["verdict"] and {**block["verdict"], "type": _short(block["verdict"]["type"])},
        "gate": gate,
        "rule": block["rule"] and _short(block["rule"]),
        "methods": [*methods[:_METHODS], *more],
    }
    return json.dumps(line, separators=(",", ":"), allow_nan=False)


def _counts(parts: Mapping[str, int]) -> dict[str, int]:
    return {kind: parts.get(kind, 0) for kind in KINDS}


def _number(value: float) -> float | None:
    """JSON has no infinity and no NaN."""
    return value if math.isfinite(value) else None


def _short(name: str) -> str:
    """At most 64 characters, all of them printable ASCII, so that the length of the line is bounded."""
    clean = "".join(letter if " " <= letter <= "~" else "?" for letter in name)
    return clean if len(clean) <= _WORD else f"{clean[: _WORD - 3]}..."
