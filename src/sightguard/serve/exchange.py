"""One request between the web, which runs in an event loop, and the engine, which runs in a thread."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace

from sightguard.serve.job import Done, Event, Failed, Job
from sightguard.serve.waiting import Waiting
from sightguard.serve.wire.chat import Asked

GRACE = 5.0
"""Seconds beyond its deadline in which a job may still be told that it is late."""


@dataclass
class Exchange:
    """A job, and its events as they arrive."""

    job: Job
    _events: asyncio.Queue[Event] = field(repr=False)
    _over: bool = False

    @classmethod
    def of(cls, id: str, asked: Asked, waiting: Waiting, *, plain: bool = False) -> Exchange:
        """Make the job of a request; must be called in the event loop that will await its events."""
        loop, events = asyncio.get_running_loop(), asyncio.Queue[Event]()

        def tell(event: Event) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody is there to be told
                loop.call_soon_threadsafe(events.put_nowait, event)

        job = Job(
            id,
            replace(asked.sample, id=id),
            asked.decoding,
            tell,
            deadline=waiting.until,
            stream=asked.stream,
            plain=plain,
            pixels=asked.pixels,
            gone=waiting.gone,
        )
        return cls(job, events)

    async def next(self) -> Event:
        """Return the next event; after `Done` or `Failed` there is none."""
        assert not self._over
        left = self.job.deadline + GRACE - time.monotonic()
        try:
            event = await asyncio.wait_for(self._events.get(), max(left, 0.0))
        except TimeoutError:
            self.leave()
            event = Failed("deadline", "there was no answer in time")
        self._over = isinstance(event, Done | Failed)
        return event

    def leave(self) -> None:
        """Nobody waits any more: the engine may stop."""
        self.job.gone.set()
