"""Listening on a port: found out before a model is loaded, and served by uvicorn."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from sightguard.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

WAITING = 2048
"""Connections that the system holds until they are taken."""


def bound(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes any that is free.

    Raises:
        UsageError: the address is taken, or is none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(WAITING)
    except (OSError, OverflowError) as error:
        found.close()
        raise UsageError(
            f"cannot listen on {host}, port {port}: {getattr(error, 'strerror', None) or error}. Choose another with --port, or end what "
            "listens there."
        ) from None
    return found


def server(app: FastAPI, *, ready: Callable[[], None] = lambda: None) -> uvicorn.Server:
    """Return what serves an application; `ready` is called when requests are taken."""
    try:
        import uvicorn
    except ImportError:
        raise MissingExtra("uvicorn", "serve", "serving a model") from None

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            if self.started:
                ready()

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # who asks is the other end of the line, whatever a header says
        timeout_keep_alive=30,
        timeout_graceful_shutdown=30,
        backlog=WAITING,
    )
    return Server(config)


def serve(app: FastAPI, at: socket.socket, *, ready: Callable[[], None] = lambda: None) -> None:
    """Serve until the process is told to end; running requests are let end first.

    Args:
        app: of `sightguard.serve.app.make_app`.
        at: a socket that listens.
        ready: called when requests are taken.
    """
    server(app, ready=ready).run(sockets=[at])
