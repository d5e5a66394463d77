"""One replica of a server on Ray Serve, which runs the application of one server, and what stands before it in Ray's proxy."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.middleware import Middleware
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from sightguard.serve.service import Service


def builder(make: Callable[[], Service]) -> Callable[[], FastAPI]:
    """Return the function by which a replica builds its application; `target_info` of its metrics says whose they are.

    Args:
        make: loads the model and its guard, asks the canary, and returns the service; called once in each replica. What it raises keeps
            the replica from starting. It travels to the replica, so it must not hold a model.
    """

    def build() -> FastAPI:
        from sightguard.serve.app import make_app

        service = make()
        service.metrics.registry.set_target_info({"replica": f"{socket.gethostname()}:{os.getpid()}"})
        app = make_app(service)
        app.state.service = service
        return app

    return build


class Replica:
    """What Ray asks of a replica beside its requests; `app` is set by Ray Serve from `builder`."""

    app: FastAPI

    def check_health(self) -> None:
        """Raise where no requests are taken any more: Ray then puts another replica in this one's place."""
        if not self.app.state.service.queue.alive:
            raise RuntimeError("the engine of this replica has ended")


class OneId:
    """Leaves an answer the id that the replica gave it, which is the one of the audit log; Ray's proxy adds another beside it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def first(message: Message) -> None:
            if message["type"] == "http.response.start":
                ids = [header for header in message["headers"] if header[0].lower() == b"x-request-id"]
                message["headers"] = [header for header in message["headers"] if header not in ids[1:]]
            await send(message)

        await self._app(scope, receive, first)


def middlewares() -> list[Middleware]:
    """Return what stands before Ray's proxy; called there, by the name in RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH."""
    from starlette.middleware import Middleware

    return [Middleware(OneId)]
