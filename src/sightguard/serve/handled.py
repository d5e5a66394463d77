"""The frame of every request: whatever happens in it, it is counted, logged, and answered in OpenAI's shape."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from sightguard.serve.entry import Ending
from sightguard.serve.record import Record
from sightguard.serve.service import Service
from sightguard.serve.streaming import Streaming
from sightguard.serve.wire.errors import WireError, shown

log = logging.getLogger(__name__)
Work = Callable[[Record], Awaitable[Response]]


async def handled(service: Service, request: Request, work: Work) -> Response:
    """Do the work of a request, and turn whatever it raises into an answer."""
    route = request.scope["route"].path if "route" in request.scope else request.url.path
    record = service.open("/v1/models" if route.startswith("/v1/models") else route)
    try:
        service.enter(record, request.headers.get("authorization"))
        response = await work(record)
    except WireError as error:
        if record.outcome == "failed" and record.status == 500:
            trouble = _TROUBLES.get(error.code or "")
            outcome: Ending = "cancelled" if error.status == 499 else "rejected" if error.status < 500 else "failed"
            record.ended(outcome, error.status, trouble=trouble)
        response = _error(error)
    except ClientDisconnect:
        record.ended("cancelled", 499, trouble="cancelled")
        response = Response(status_code=499)  # nobody reads it
    except asyncio.CancelledError:  # the server has waited long enough for its own end
        record.ended("failed", 503, trouble="closing")
        response = _error(WireError(503, "the server is being stopped.", "server_error", code="closing"))
    except Exception:
        log.exception("a request failed")
        record.ended("failed", 500, trouble="internal")
        response = _error(WireError(500, "the server failed on this request; its log says why.", "server_error"))
    response.headers.setdefault("x-request-id", record.id)
    if isinstance(response, Streaming):  # it ends, and is logged, later
        return response
    try:
        await service.close(record)
    except WireError as error:
        return _error(error)
    return response


def in_one_shape(app: FastAPI) -> None:
    """Answer what no route is for in the same shape."""

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        code = {404: "unknown_url", 405: "method_not_allowed"}.get(error.status_code)
        found = WireError(
            error.status_code, f"{shown(request.method)} {shown(request.url.path)}: {error.detail}.", code=code
        )
        found.headers.update(error.headers or {})
        return _error(found)


def _error(error: WireError) -> JSONResponse:
    return JSONResponse(error.body(), error.status, headers=error.headers)


_TROUBLES = {
    "request_too_large": "too_large",
    "invalid_image_url": "fetch",
    "queue_full": "queue_full",
    "deadline_exceeded": "deadline",
    "out_of_memory": "out_of_memory",
    "cancelled": "cancelled",
}
"""What is counted for the code of an error."""
