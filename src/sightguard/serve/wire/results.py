"""From what the inspectors say of one input to a result of moderation.

A category that no inspector looked for has score 0, is not flagged, and an EMPTY list of applied input types: read that list before a
`false` is taken for "nothing there".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sightguard.serve.job import Inspection, LayerGate, Proof
from sightguard.serve.wire.categories import REQUEST, RISK, UNSAFE, categories
from sightguard.serve.wire.errors import WireError
from sightguard.serve.wire.proof import KINDS, seen
from sightguard.types import Risk

LIKELY = 0.5
"""From which probability on an input is called unsafe, also where no single type of risk is the likeliest."""


@dataclass(frozen=True, slots=True)
class _Found:
    flagged: bool
    score: float


def result(found: Inspection | Proof, received: Mapping[str, int], param: str = "input") -> dict[str, Any]:
    """Return one entry of `results`: the standard keys, our own, and the `sightguard` block of what was inspected.

    Args:
        found: what the inspectors say.
        received: parts of the input by kind.
        param: the input, for the error.

    Raises:
        WireError: 400 `not_inspected`: no inspector of this server looks at such an input, or not at all of its pictures.
    """
    _check_inspected(found, received, param)
    kinds = [kind for kind in KINDS if found.inspected.get(kind, 0)]
    own = _own(found)
    flagged, scores, applied = {}, {}, {}
    for key, allowed in categories().standard.items():
        one, where = _standard(key, found.risk), [kind for kind in kinds if kind in allowed]
        looked = one is not None and bool(where)
        flagged[key] = looked and one is not None and one.flagged
        scores[key] = one.score if looked and one is not None else 0.0
        applied[key] = where if looked else []
    for key, one in own.items():
        flagged[key], scores[key], applied[key] = one.flagged, one.score, kinds
    return {
        "flagged": any(flagged.values()),
        "categories": flagged,
        "category_scores": scores,
        "category_applied_input_types": applied,
        "sightguard": seen(received, found),
    }


def _check_inspected(found: Inspection | Proof, received: Mapping[str, int], param: str) -> None:
    looked = found.risk is not None or bool(found.gate)
    if not looked or not any(found.inspected.values()) or _partly(found.inspected, received):
        raise WireError(
            400,
            f"{param}: no inspector of this server looks at such an input, or not at all of it. A safety head looks at pictures; "
            "a gate also at text.",
            param=param,
            code="not_inspected",
        )


def _partly(inspected: Mapping[str, int], received: Mapping[str, int]) -> bool:
    """Whether a picture was not looked at, or some of the texts; that none of them was is told by the applied input types."""
    texts = inspected.get("text", 0)
    return inspected.get("image", 0) < received.get("image", 0) or 0 < texts < received.get("text", 0)


def _own(found: Inspection | Proof) -> dict[str, _Found]:
    own: dict[str, _Found] = {}
    if (risk := found.risk) is not None:
        for name in _types(risk):
            own[RISK + name] = _Found(_is(risk, name), _chance(risk, name))
        own[UNSAFE] = _Found(risk.level > 0 or not _score(risk.p_unsafe) < LIKELY, _score(risk.p_unsafe))
    if found.gate:
        own[REQUEST] = _fired(found.gate)
    return own


def _standard(key: str, risk: Risk | None) -> _Found | None:
    """Return what is known of a standard key; None where no type of the head belongs to it. Types exclude each other, so they add up."""
    if risk is None:
        return None
    mapped = [name for name in _types(risk) if key in categories().keys.get(name, ())]
    if not mapped:
        return None
    return _Found(any(_is(risk, name) for name in mapped), min(1.0, sum(_chance(risk, name) for name in mapped)))


def _types(risk: Risk) -> list[str]:
    """Return the types of risk that the head knows, the safe one left out: it is the one that level 0 goes with."""
    safe = {name for name, level in risk.levels.items() if level == 0} | ({risk.type} if risk.level == 0 else set())
    known = [name for name in risk.p_types if name not in safe]
    if risk.level > 0 and risk.type not in known:
        known.append(risk.type)
    return known


def _is(risk: Risk, name: str) -> bool:
    return risk.level > 0 and risk.type == name


def _chance(risk: Risk, name: str) -> float:
    return _score(risk.p_types.get(name, risk.p_unsafe))


def _score(value: float) -> float:
    """A probability that is no number is taken for the worst."""
    return min(1.0, max(0.0, value)) if math.isfinite(value) else 1.0


def _fired(layers: tuple[LayerGate, ...]) -> _Found:
    """A gate's score is no probability, so 1 stands for fired and 0 for not; the score itself is in the `sightguard` block."""
    fired = any(one.fired for one in layers)
    return _Found(fired, float(fired))
