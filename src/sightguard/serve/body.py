"""The body of a request: bounded while it is read, JSON, and nothing else."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from sightguard.serve.wire.body import parse_json
from sightguard.serve.wire.errors import WireError

if TYPE_CHECKING:
    from starlette.requests import Request

    from sightguard.serve.threads import Pool
    from sightguard.serve.waiting import Waiting

SMALL = 2**16
"""Bytes of a body that is parsed in the event loop."""


async def read_body(request: Request, limit: int, waiting: Waiting, pool: Pool) -> object:
    """Return the JSON of a request.

    Args:
        request: whose body was not read.
        limit: bytes.
        waiting: until when it must have come whole.
        pool: parses what is large.

    Raises:
        WireError: 413 more than `limit` bytes, 415 another type, 400 no JSON, 408 it did not come whole in time; and as `Pool.run`.
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
        async with asyncio.timeout(waiting.left()):
            async for piece in request.stream():
                data += piece
                if len(data) > limit:
                    raise _too_large(limit)
    except TimeoutError:
        raise WireError(
            408,
            f"the body did not come whole within {waiting.seconds:g} s. Send it again.",
            "timeout_error",
            code="body_timeout",
        ) from None
    # a small one is read sooner than a thread is woken
    return parse_json(bytes(data)) if len(data) <= SMALL else await pool.run(partial(parse_json, bytes(data)), waiting)


def _too_large(limit: int) -> WireError:
    return WireError(
        413, f"expected a body of at most {limit:,} bytes. Send smaller or fewer pictures.", code="request_too_large"
    )
