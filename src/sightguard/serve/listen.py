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

ENDING = 30
"""Seconds in which running requests may end when the server is stopped."""


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


def url(host: str, port: int) -> str:
    """Return the address as clients write it."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def server(
    app: FastAPI,
    *,
    ready: Callable[[], None] = lambda: None,
    stopping: Callable[[], None] = lambda: None,
) -> uvicorn.Server:
    """Return the server of an application.

    Args:
        app: of `sightguard.serve.app.make_app`.
        ready: called when requests are taken.
        stopping: called when no more are taken, before those that run are waited for; must not block.
    """
    try:
        import uvicorn
    except ImportError:
        raise MissingExtra("uvicorn", "serve", "serving a model") from None
    from sightguard.serve.connections import Connection, Server

    config = uvicorn.Config(
        app,
        http=Connection,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # who asks is the other end of the line, whatever a header says
        timeout_keep_alive=30,
        timeout_graceful_shutdown=ENDING,
        backlog=WAITING,
    )
    return Server(config, ready, stopping)


def serve(app: FastAPI, at: socket.socket, **told: Callable[[], None]) -> None:
    """Serve until the process is told to end; running requests are let end first.

    Args:
        app: of `sightguard.serve.app.make_app`.
        at: a socket that listens.
        told: as for `server`.
    """
    server(app, **told).run(sockets=[at])
