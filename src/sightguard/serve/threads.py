"""Threads of a server, for each kind of work its own: slow pictures never hold up the log, nor requests without any."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

from sightguard.serve.waiting import Waiting, failed, heeded
from sightguard.serve.wire.errors import WireError

Made = TypeVar("Made")
READERS, FETCHERS, WRITERS = 4, 8, 4
"""Requests that are read at once: those that bring their pictures along, and those that name addresses; lines that are written at once."""


class Pool:
    """Threads, and how much may wait for them.

    Args:
        name: of the work.
        threads: at once.
        most: requests whose work waits or runs here.
    """

    def __init__(self, name: str, threads: int, most: int) -> None:
        self._threads = ThreadPoolExecutor(threads, f"sightguard-{name}")
        self._name, self._most, self._held = name, threads + most, 0

    def __len__(self) -> int:
        return self._held

    async def run(self, work: Callable[[], Made], waiting: Waiting) -> Made:
        """Return what `work` returns; where nobody waits any more it is not begun, or left to end by itself.

        Raises:
            WireError: 429 too much waits, 504 it did not end in time, 499 the client left; and whatever `work` raises.
        """
        if self._held >= self._most:
            raise WireError(
                429, f"too many requests wait ({self._name}). Send this one again later.", "rate_limit_error", None,
                "queue_full", {"Retry-After": "1"},
            )  # fmt: skip
        self._held += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, _heeding, work, waiting)
        try:
            await asyncio.wait({future}, timeout=waiting.left())
            if not future.done():
                raise failed("deadline")
            return future.result()
        finally:
            self._held -= 1
            if not future.done():
                waiting.leave()  # it stops where it looks next
                future.cancel()


class Threads:
    """All threads of a server but the engine's.

    Args:
        most: requests that may wait for each kind.
    """

    def __init__(self, most: int) -> None:
        self.reading = Pool("reading", READERS, most)
        self.fetching = Pool("fetching", FETCHERS, most)
        self.looking = Pool("inspecting", 1, most)  # the model looks at one request at a time
        self._writing = ThreadPoolExecutor(WRITERS, "sightguard-log")

    async def write(self, work: Callable[[], None]) -> None:
        """Write a line of the log; it is waited for, whoever left."""
        await asyncio.get_running_loop().run_in_executor(self._writing, work)


def has_address(body: object, most: int) -> bool:
    """Whether a request names a picture by its address, as far as its first `most` turns and parts tell; it was not checked yet."""
    if not isinstance(body, dict):
        return False
    turns = body.get("messages")
    contents = [
        turn.get("content") for turn in islice(turns if isinstance(turns, list) else (), most) if isinstance(turn, dict)
    ]
    parts = chain.from_iterable(content for content in [*contents, body.get("input")] if isinstance(content, list))
    return any(_is_address(part) for part in islice(parts, most))


def _is_address(part: object) -> bool:
    place = part.get("image_url") if isinstance(part, dict) else None
    url = place.get("url") if isinstance(place, dict) else None
    return isinstance(url, str) and url[:5].lower() != "data:"


def _heeding(work: Callable[[], Made], waiting: Waiting) -> Made:
    with heeded(waiting):
        waiting.check()
        try:
            return work()
        except Exception:
            waiting.check()  # a picture that could not be fetched in what was left of the time is no fault of its host
            raise
