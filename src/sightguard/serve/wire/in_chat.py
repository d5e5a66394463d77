"""Moderation inside a chat: what the inspectors saw of the request, in the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightguard.serve.job import Proof
from sightguard.serve.wire.chat import Moderated
from sightguard.serve.wire.errors import WireError
from sightguard.serve.wire.results import result

_UNREAD = {
    "type": "error",
    "code": "not_inspected",
    "message": "the inspectors of this server read requests, not answers.",
}


def moderation(wanted: Moderated, proof: Proof | None, received: Mapping[str, int]) -> dict[str, Any]:
    """Return the `moderation` block of a completion, or of the first chunk of a stream.

    Args:
        wanted: what was asked for.
        proof: what the guard saw; None where it saw nothing.
        received: parts of the request by kind.
    """
    return {"input": _input(wanted, proof, received), "output": dict(_UNREAD)}


def blocks(wanted: Moderated | None, moderation: Mapping[str, Any] | None) -> bool:
    """Whether the request asked to be refused for what was found; what could not be inspected counts as found."""
    if wanted is None or wanted.input != "block":
        return False
    if moderation is None or moderation["input"]["type"] == "error":
        return True
    return any(one["flagged"] for one in moderation["input"]["results"])


def _input(wanted: Moderated, proof: Proof | None, received: Mapping[str, int]) -> dict[str, Any]:
    try:
        found = result(proof or Proof(inspected={}), received, "messages")
    except WireError as error:
        return {"type": "error", "code": str(error.code), "message": error.message}
    one = {"type": "moderation_result", "model": wanted.model, **found}
    return {"type": "moderation_results", "model": wanted.model, "results": [one]}
