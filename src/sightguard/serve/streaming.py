"""The response of a stream: whoever listens, and for how long, the engine is set free at its end and the log says how it ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import StreamingResponse

from sightguard.serve.talk import Talk

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class Streaming(StreamingResponse):
    """Server-sent events of a chat.

    The end is not left to the generator of the events: of a client that is gone before the first one, it is never begun, and of one that
    stops reading it is never resumed.
    """

    def __init__(self, talk: Talk) -> None:
        super().__init__(talk.stream(), media_type="text/event-stream", headers=HEADERS | talk.headers)
        self._talk = talk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events, and end."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await asyncio.shield(self._talk.end())
