"""The routes of a server. They translate between HTTP and `sightguard.serve.service`; what is decided is decided there.

A client can ask. Nothing that it sends, and no route, changes, weakens or switches off the guard: that is configuration of the start.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sightguard import __version__
from sightguard.errors import MissingExtra
from sightguard.serve.body import read_body
from sightguard.serve.metrics import CONTENT_TYPE
from sightguard.serve.record import Record
from sightguard.serve.service import INSPECTOR, Service
from sightguard.serve.streaming import Streaming
from sightguard.serve.talk import Talk
from sightguard.serve.waiting import watched
from sightguard.serve.wire import models, moderations
from sightguard.serve.wire.errors import WireError

try:
    from fastapi import FastAPI, Request, Response
    from fastapi.responses import JSONResponse, PlainTextResponse
except ImportError:
    raise MissingExtra("fastapi", "serve", "serving a model") from None

from sightguard.serve.document import RESPONSES, STREAMED, describe, takes
from sightguard.serve.handled import handled, in_one_shape
from sightguard.serve.loopback import KnownHost, check_local, check_secret, is_loopback
from sightguard.serve.pages import mount


def make_app(service: Service) -> FastAPI:
    """Return the application of a service."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.queue.close)

    app = FastAPI(title="Sightguard", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    in_one_shape(app)
    _state(app, service)
    _asking(app, service)
    describe(app, service)
    _playground(app, service)
    if is_loopback(service.settings.host):
        app.add_middleware(KnownHost, service=service)
    return app


def _asking(app: FastAPI, service: Service) -> None:
    @app.post("/v1/chat/completions", openapi_extra=takes("ChatRequest"), responses=STREAMED | RESPONSES)
    async def chat(request: Request) -> Response:
        """Answer a conversation with pictures, guarded."""
        return await handled(service, request, lambda record: _chat(service, request, record))

    @app.post("/v1/moderations", openapi_extra=takes("ModerationRequest"), responses=RESPONSES)
    async def moderate(request: Request) -> Response:
        """Say what the guard's inspectors see."""
        return await handled(service, request, lambda record: _moderate(service, request, record))

    @app.get("/v1/models", responses=RESPONSES)
    async def list_models(request: Request) -> Response:
        """Name the model of this server."""
        return await handled(service, request, lambda record: _models(service, request, record, None))

    @app.get("/v1/models/{name:path}", responses=RESPONSES)
    async def one_model(request: Request, name: str) -> Response:
        """Describe one model."""
        return await handled(service, request, lambda record: _models(service, request, record, name))


def _playground(app: FastAPI, service: Service) -> None:
    if service.settings.playground:
        mount(app, service)
    if not service.settings.compare:
        return

    @app.post("/playground/plain", include_in_schema=False)
    async def plain(request: Request) -> Response:
        """Answer without the guard: for the page's comparison, and for nobody but this computer."""
        return await handled(service, request, lambda record: _plain(service, request, record))


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


async def _chat(service: Service, request: Request, record: Record, *, plain: bool = False) -> Response:
    waiting = service.waiting(record)
    body = await read_body(request, service.settings.max_body, waiting, service.threads.reading)
    async with watched(request, waiting):
        asked, exchange = await service.ask(record, waiting, body, plain=plain)
        talk = Talk(service, record, asked, exchange)
        await talk.begin()
        if asked.stream:
            await service.streaming(record)
            return Streaming(talk)
        told = await talk.whole()
        return JSONResponse(told, headers=talk.headers)


async def _plain(service: Service, request: Request, record: Record) -> Response:
    try:
        check_local(request)
        check_secret(request, service.secret)
    except WireError as error:
        record.trouble = error.code
        raise
    return await _chat(service, request, record, plain=True)


async def _moderate(service: Service, request: Request, record: Record) -> Response:
    waiting = service.waiting(record)
    body = await read_body(request, service.settings.max_body, waiting, service.threads.reading)
    async with watched(request, waiting):
        inputs, found = await service.inspect(record, waiting, body)
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
