"""The body of a request: bounded while it is read, JSON, and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn

from sightguard.serve.wire.errors import WireError

if TYPE_CHECKING:
    from starlette.requests import Request


async def read_body(request: Request, limit: int) -> Any:
    """Return the JSON of a request.

    Raises:
        WireError: 413 more than `limit` bytes, 415 another type, 400 no JSON.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # a page of another site may send other types without asking; this one it may not
        raise WireError(415, "expected the header 'Content-Type: application/json'.", code="unsupported_media_type")
    told = request.headers.get("content-length", "")
    if told.isdigit() and int(told) > limit:
        raise _too_large(limit)
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > limit:
            raise _too_large(limit)
    try:
        return json.loads(bytes(data), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        place = f" (at byte {error.pos})" if isinstance(error, json.JSONDecodeError) else ""
        raise WireError(400, f"the body is no JSON{place}.", code="invalid_json") from None


def _too_large(limit: int) -> WireError:
    return WireError(
        413, f"expected a body of at most {limit:,} bytes. Send smaller or fewer pictures.", code="request_too_large"
    )


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
