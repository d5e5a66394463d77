"""What the audit log says of one request: what was asked, what was looked at, what was decided, and how it ended.

Texts and pictures appear as SHA-256 only, unless the operator asks for the content; then texts and the answer are written, pictures never.
A digest of a short text can be found by trying texts, so a log is to be kept as what it speaks of is kept.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from sightguard.serve.job import GuardId, Inspection, Proof
from sightguard.types import Image, Sample

SCHEMA = 1
LONGEST = 200
"""Characters of what a client may name (the model): a log is not to be filled by a name."""
MOST = 1000
"""Inputs of a moderation that are listed, and parts whose digests are; for the rest of the parts one is taken over theirs. Many tiny ones
are not to make a line larger than the request."""
Ending = Literal["answered", "refused", "rejected", "failed", "cancelled", "streaming"]
"""`refused` by the guard; `rejected` before the model was asked (no key, a malformed request, a full queue); `failed`: an error; `cancelled`:
the client left. `streaming` is written before the first text of a stream leaves; a second line with the same id says how it ended, and
is missing where the process died."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the log."""

    id: str
    route: str
    outcome: Ending
    status: int
    """Of HTTP."""
    guard: GuardId
    model: str | None = None
    key: int | None = None
    """Which key opened, counted from 1; None where none is asked for, or none fitted."""
    sample: Sample | None = field(default=None, repr=False)
    """What was asked; None where it could not be read."""
    received: Mapping[str, int] = field(default_factory=dict)
    """Parts by kind, as they came."""
    proof: Proof | None = None
    """Of a moderation with several inputs: what was found worst, in any of them."""
    inputs: Sequence[Inspection] = ()
    """Of a moderation: what was found in each input."""
    finish: str | None = None
    trouble: str | None = None
    """The kind of error."""
    plain: bool = False
    """Answered without the guard: a bypass."""
    seconds: float | None = None
    first_token: float | None = None
    """Seconds until the first text."""
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    answer: str | None = field(default=None, repr=False)
    time: float = field(default_factory=time.time)

    def line(self, *, content: bool) -> bytes:
        """Return the line, in ASCII and with its end."""
        return json.dumps(_finite(self._fields(content)), separators=(",", ":"), allow_nan=False).encode() + b"\n"

    def _fields(self, content: bool) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "time": datetime.fromtimestamp(self.time, UTC).isoformat(timespec="milliseconds"),
            "id": self.id,
            "route": self.route[:LONGEST],
            "model": None if self.model is None else self.model[:LONGEST],
            "key": self.key,
            "guard": {"id": self.guard.id, "sha256": self.guard.sha256},
            "bypass": self.plain,
            "outcome": self.outcome,
            "status": self.status,
            "finish": self.finish,
            "trouble": self.trouble,
            "parts": {
                "received": dict(self.received),
                "inspected": dict(self.proof.inspected) if self.proof is not None else {},
                "hashes": _hashes(self.sample),
            },
            **_seen(self.proof),
            "inputs": _inputs(self.inputs),
            "seconds": self.seconds,
            "first_token": self.first_token,
            "tokens": {"prompt": self.prompt_tokens, "answer": self.answer_tokens},
            **({"content": _content(self.sample), "answer": self.answer} if content else {}),
        }


def _seen(proof: Proof | None) -> dict[str, Any]:
    if proof is None:
        return {"verdict": None, "gate": [], "rule": None, "methods": []}
    return {**_found(proof), "rule": proof.rule, "methods": list(proof.methods)}


def _found(seen: Proof | Inspection) -> dict[str, Any]:
    risk = seen.risk
    return {
        "verdict": None if risk is None else {"type": risk.type, "level": risk.level, "p_unsafe": risk.p_unsafe},
        "gate": [
            {"layer": gate.layer, "score": gate.score, "threshold": gate.threshold, "fired": gate.fired}
            for gate in seen.gate
        ],
    }


def _inputs(found: Sequence[Inspection]) -> list[dict[str, Any]]:
    listed = [{"inspected": dict(one.inspected), **_found(one)} for one in found[:MOST]]
    return listed if len(found) <= MOST else [*listed, {"more": len(found) - MOST}]


def _hashes(sample: Sample | None) -> list[dict[str, Any]]:
    found = [
        {"turn": number, "role": message.role, **_hash(part)}
        for number, message in enumerate(sample.messages if sample is not None else ())
        for part in message.parts
    ]
    if len(found) <= MOST:
        return found
    rest = "".join(part["sha256"] for part in found[MOST:])
    return [*found[:MOST], {"kind": "more", "parts": len(found) - MOST, "sha256": _sha256(rest.encode())}]


def _hash(part: str | Image) -> dict[str, Any]:
    # JSON lets a text hold half of a surrogate pair, which has no UTF-8
    kind, data = ("text", part.encode(errors="surrogatepass")) if isinstance(part, str) else ("image", part.read())
    return {"kind": kind, "bytes": len(data), "sha256": _sha256(data)}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _content(sample: Sample | None) -> list[dict[str, Any]]:
    return [
        {"role": message.role, "texts": [part for part in message.parts if isinstance(part, str)]}
        for message in (sample.messages if sample is not None else ())
    ]


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity; a score that is one must not cost the line, so it is written as a word."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value
