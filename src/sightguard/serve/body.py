"""The body of a request: bounded while it is read, JSON, and nothing else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sightguard.serve.wire.body import parse_json
from sightguard.serve.wire.errors import WireError

if TYPE_CHECKING:
    from starlette.requests import Request

SECONDS = 30.0
"""For a short body."""

SMALL = 2**16
"""Bytes of a body that is parsed in the event loop."""


async def read_body(request: Request, limit: int, seconds: float = SECONDS) -> object:
    """Return the JSON of a request.

    Raises:
        WireError: 413 more than `limit` bytes, 415 another type, 400 no JSON, 408 it did not come whole within `seconds`.
        ClientDisconnect: the client left.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # a page of another site may send other types without asking; this one it may not
        raise WireError(415, "expected the header 'Content-Type: application/json'.", code="unsupported_media_type")
    told = request.headers.get("content-length", "")
    if told.isdigit() and int(told) > limit:
        raise _too_large(limit)
    data = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for piece in request.stream():
                data += piece
                if len(data) > limit:
                    raise _too_large(limit)
    except TimeoutError:
        raise WireError(
            408,
            f"the body did not come whole within {seconds:g} s. Send it again.",
            "timeout_error",
            code="body_timeout",
        ) from None
    # a small one is read sooner than a thread is woken
    return parse_json(bytes(data)) if len(data) <= SMALL else await asyncio.to_thread(parse_json, bytes(data))


def _too_large(limit: int) -> WireError:
    return WireError(
        413, f"expected a body of at most {limit:,} bytes. Send smaller or fewer pictures.", code="request_too_large"
    )
