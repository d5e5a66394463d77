"""The routes of a server. They translate between HTTP and `sightguard.serve.service`; what is decided is decided there.

A client can ask. Nothing that it sends, and no route, changes, weakens or switches off the guard: that is configuration of the start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from sightguard import __version__
from sightguard.errors import MissingExtra
from sightguard.serve.body import read_body
from sightguard.serve.metrics import CONTENT_TYPE
from sightguard.serve.record import Record
from sightguard.serve.service import INSPECTOR, Service
from sightguard.serve.streaming import Streaming
from sightguard.serve.talk import Talk
from sightguard.serve.wire import models, moderations
from sightguard.serve.wire.errors import WireError, shown
from sightguard.serve.wire.schemas import schemas

try:
    from fastapi import FastAPI, Request, Response
    from fastapi.responses import JSONResponse, PlainTextResponse
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect
except ImportError:
    raise MissingExtra("fastapi", "serve", "serving a model") from None

from sightguard.serve.loopback import KnownHost, check_local, is_loopback
from sightguard.serve.pages import mount

log = logging.getLogger(__name__)
Work = Callable[[Record], Awaitable[Response]]


def make_app(service: Service) -> FastAPI:
    """Return the application of a service."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.queue.close)

    app = FastAPI(title="Sightguard", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    _errors(app)
    _state(app, service)
    _asking(app, service)
    _schema(app, service)
    _playground(app, service)
    if is_loopback(service.settings.host):
        app.add_middleware(KnownHost, service=service)
    return app


def _asking(app: FastAPI, service: Service) -> None:
    @app.post("/v1/chat/completions", openapi_extra=_takes("ChatRequest"), responses=_STREAMED | _RESPONSES)
    async def chat(request: Request) -> Response:
        """Answer a conversation with pictures, guarded."""
        return await _handled(service, request, lambda record: _chat(service, request, record))

    @app.post("/v1/moderations", openapi_extra=_takes("ModerationRequest"), responses=_RESPONSES)
    async def moderate(request: Request) -> Response:
        """Say what the guard's inspectors see."""
        return await _handled(service, request, lambda record: _moderate(service, request, record))

    @app.get("/v1/models", responses=_RESPONSES)
    async def list_models(request: Request) -> Response:
        """Name the model of this server."""
        return await _handled(service, request, lambda record: _models(service, request, record, None))

    @app.get("/v1/models/{name:path}", responses=_RESPONSES)
    async def one_model(request: Request, name: str) -> Response:
        """Describe one model."""
        return await _handled(service, request, lambda record: _models(service, request, record, name))


def _playground(app: FastAPI, service: Service) -> None:
    if service.settings.playground:
        mount(app, service)
    if not service.settings.compare:
        return

    @app.post("/playground/plain", include_in_schema=False)
    async def plain(request: Request) -> Response:
        """Answer without the guard: for the page's comparison, and for nobody but this computer."""
        return await _handled(service, request, lambda record: _plain(service, request, record))


def _state(app: FastAPI, service: Service) -> None:
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "ok"}

    @app.get("/readyz", responses={503: {"description": "No requests are taken."}})
    async def readyz() -> Response:
        """Whether requests are taken: the canary passed, and the engine runs."""
        if not service.queue.alive:
            return JSONResponse({"status": "closing"}, 503)
        guard = service.engine.guard
        return JSONResponse(
            {"status": "ready", "guard": {"id": guard.id, "sha256": guard.sha256}, "canary": service.canary}
        )

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Counts for Prometheus."""
        service.metrics.waiting(len(service.queue))
        return Response(service.metrics.exposition(), media_type=CONTENT_TYPE)


async def _handled(service: Service, request: Request, work: Work) -> Response:
    """Do the work of a request; whatever happens, it is counted, logged, and answered in OpenAI's shape."""
    route = request.scope["route"].path if "route" in request.scope else request.url.path
    record = service.open("/v1/models" if route.startswith("/v1/models") else route)
    try:
        service.enter(record, request.headers.get("authorization"))
        response = await work(record)
    except WireError as error:
        if record.outcome == "failed" and record.status == 500:
            trouble = _TROUBLES.get(error.code or "")
            record.ended("rejected" if error.status < 500 else "failed", error.status, trouble=trouble)
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


async def _chat(service: Service, request: Request, record: Record, *, plain: bool = False) -> Response:
    body = await read_body(request, service.settings.max_body, service.settings.deadline)
    asked, exchange = await service.ask(record, body, plain=plain)
    talk = Talk(service, record, asked, exchange)
    leaving = asyncio.create_task(_watch(request, exchange.leave))
    try:
        await talk.begin()
        if asked.stream:
            await service.streaming(record)
            return Streaming(talk)
        told = await talk.whole()
        return JSONResponse(told, headers=talk.headers)
    except BaseException:
        exchange.leave()
        raise
    finally:
        leaving.cancel()
        with suppress(asyncio.CancelledError):
            await leaving


async def _plain(service: Service, request: Request, record: Record) -> Response:
    try:
        check_local(request)
    except WireError:
        record.trouble = "local_only"
        raise
    return await _chat(service, request, record, plain=True)


async def _moderate(service: Service, request: Request, record: Record) -> Response:
    body = await read_body(request, service.settings.max_body, service.settings.deadline)
    inputs, found = await service.inspect(record, body)
    told = moderations.response(record.id.replace("chatcmpl", "modr"), INSPECTOR, inputs, found)
    record.ended("answered", 200)
    return JSONResponse(told)


async def _models(service: Service, request: Request, record: Record, name: str | None) -> Response:
    engine = service.engine
    if name is None:
        told = models.models(engine.name, service.created, engine.guard)
    else:
        models.check_model(name, (engine.name,))
        told = models.model(engine.name, service.created, engine.guard)
    record.ended("answered", 200)
    return JSONResponse(told)


async def _watch(request: Request, leave: Callable[[], None]) -> None:
    """Call `leave` when the client closes the connection; the body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    leave()


def _errors(app: FastAPI) -> None:
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


_TROUBLES = {"request_too_large": "too_large", "invalid_image_url": "fetch"}
"""What is counted for the code of an error."""
_PROBLEM = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": what, **_PROBLEM}
    for status, what in {
        400: "The request cannot be kept to as it stands.",
        401: "A key is asked for, and none fits.",
        404: "Another model is served here.",
        408: "The body did not come whole in time.",
        413: "The body is too large.",
        415: "The body is of another type than application/json.",
        429: "Too many requests wait.",
        503: "There is no room, no memory or no log for this request.",
        504: "There was no answer in time.",
    }.items()
}
_STREAMED: dict[int | str, dict[str, Any]] = {
    200: {"description": "The answer; with `stream`, its chunks as events.", "content": {"text/event-stream": {}}}
}


def _takes(name: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _schema(app: FastAPI, service: Service) -> None:
    """Put the schemas of the bodies, which are read by hand, into the document of the API."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        document = made()
        parts = document.setdefault("components", {}).setdefault("schemas", {})
        parts.update(schemas(service.settings, service.names))
        parts["Error"] = {
            "type": "object",
            "required": ["error"],
            "properties": {
                "error": {
                    "type": "object",
                    "required": ["message", "type", "param", "code"],
                    "properties": {
                        "message": {"type": "string"},
                        "type": {"type": "string"},
                        "param": {"type": ["string", "null"]},
                        "code": {"type": ["string", "null"]},
                    },
                }
            },
        }
        return document

    app.openapi = openapi  # type: ignore[method-assign]
