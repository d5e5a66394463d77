"""How long a request is worked on: until its deadline, counted from when it came in, and no longer than its client stays.

A thread cannot be broken off from outside. Work in threads therefore asks before each picture, and between batches, whether anybody waits still.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sightguard.serve.job import Failed, Trouble
from sightguard.serve.wire.errors import WireError, trouble

if TYPE_CHECKING:
    from starlette.requests import Request


@dataclass(frozen=True, slots=True)
class Waiting:
    """Somebody who waits for an answer.

    Args:
        began: `time.monotonic` when the request came in.
        seconds: that it may take in all.
        gone: set when nobody waits any more.
    """

    began: float
    seconds: float
    gone: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def until(self) -> float:
        """`time.monotonic` after which nobody waits."""
        return self.began + self.seconds

    def left(self) -> float:
        """Return the seconds that are left, 0 where there are none."""
        return max(0.0, self.until - time.monotonic())

    def leave(self) -> None:
        """Nobody waits any more: what works for it may stop."""
        self.gone.set()

    def check(self) -> None:
        """Go on only where somebody waits.

        Raises:
            WireError: 499 the client left, 504 the time is over.
        """
        if self.gone.is_set():
            raise failed("cancelled")
        if not self.left():
            raise failed("deadline")


_WAITING: ContextVar[Waiting | None] = ContextVar("waiting", default=None)


@contextmanager
def heeded(waiting: Waiting) -> Iterator[None]:
    """Within this, in this thread, work is for `waiting`."""
    token = _WAITING.set(waiting)
    try:
        yield
    finally:
        _WAITING.reset(token)


def heed() -> None:
    """Raise, as `Waiting.check` does, where this work is for somebody who waits no more."""
    if (waiting := _WAITING.get()) is not None:
        waiting.check()


def ends() -> float:
    """Return the `time.monotonic` after which nobody waits for this work; infinity where nobody set one."""
    return math.inf if (waiting := _WAITING.get()) is None else waiting.until


@asynccontextmanager
async def watched(request: Request, waiting: Waiting) -> AsyncIterator[None]:
    """Within this a client that closes its connection is seen, and waits no more; the body must have been read."""
    watch = asyncio.create_task(_watch(request, waiting))
    try:
        yield
    except BaseException:
        waiting.leave()
        raise
    finally:
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch


async def _watch(request: Request, waiting: Waiting) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    waiting.leave()


def failed(kind: Trouble) -> WireError:
    """Return the error of a request that is given up; not for `guard_error`, which is answered as a refusal."""
    error = trouble(Failed(kind, ""))
    assert error is not None
    return error
