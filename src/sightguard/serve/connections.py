"""What uvicorn leaves open: connections on which no request ever comes whole, and being told when a server begins and ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

PATIENCE = 30.0
"""Seconds in which the head of a request must have come whole."""


class Server(uvicorn.Server):
    """Tells when requests are taken, and when no more are.

    Args:
        config: of uvicorn.
        ready: called when requests are taken.
        stopping: called when no more are, before those that run are waited for.
    """

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready, self._stopping = ready, stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin."""
        await super().startup(sockets=sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        self._stopping()
        await super().shutdown(sockets=sockets)


class Connection(H11Protocol):
    """Is closed where no whole head of a request comes in time: each connection holds a file of the process."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._wait()

    def _wait(self) -> None:
        asked, closing = self._asked(), self.transport.is_closing()
        if (asked or closing) and self._late is not None:
            self._late.cancel()
            self._late = None
        elif not asked and not closing and self._late is None:
            self._late = self.loop.call_later(PATIENCE, self._give_up)

    def _give_up(self) -> None:
        self._late = None
        if not self._asked():
            self.transport.close()

    def _asked(self) -> bool:
        """Whether a request came whole that has no answer yet."""
        cycle: Any = self.cycle  # none before the first request
        return cycle is not None and not cycle.response_complete
