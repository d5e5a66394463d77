"""Requests wait here until a batch goes to the engine: bounded, in order, and without those that nobody waits for any more."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import accumulate, islice

from sightguard.errors import SightguardError
from sightguard.serve.job import Engine, Failed, Job

log = logging.getLogger(__name__)
SHARE = 0.2
"""Of the time of a batch, that a free engine waits at the most for jobs that it expects."""


class Full(SightguardError):
    """The queue holds as many requests as it may; `after` says in how many seconds to come back."""

    def __init__(self, waiting: int, after: int) -> None:
        super().__init__(f"{waiting} requests wait already; send this one again in {after} s")
        self.after = after


class Closed(SightguardError):
    """The server is being stopped, or its engine has ended."""


class Queue:
    """Gathers jobs and hands them to the engine, a batch at a time, in a thread of its own.

    While a batch is answered, others gather. Clients whose answers came together ask again together, so an engine that is free waits until as
    many jobs are there as were answered and left waiting last time, but for no more than a fifth of what a batch takes; who does not come
    back is not expected again. What the engine raises ends in `Failed` for the jobs of that batch, and the next batch goes on.

    Args:
        engine: answers.
        most: jobs that may wait.
        wait: seconds that a free engine waits for jobs that it expects, at the least.
        watch: told the size of each batch.
        pixels: of the pictures of one batch, at most; a job with more goes alone. None: any.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        most: int,
        wait: float,
        watch: Callable[[int], None] = lambda size: None,
        pixels: int | None = None,
    ) -> None:
        self._engine, self._most, self._wait, self._watch, self._pixels = engine, most, wait, watch, pixels
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._busy: tuple[Job, ...] = ()
        self._expected = 1
        """Jobs that are likely to be there soon."""
        self._seconds = 1.0
        """Of a batch, as the latest ones took."""
        self._thread = threading.Thread(target=self._run, name="sightguard-engine", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def alive(self) -> bool:
        """Whether batches are still taken."""
        return self._thread.is_alive() and not self._closed

    def put(self, job: Job) -> None:
        """Take a job in.

        Raises:
            Full: as many wait as may, and each of them is still waited for.
            Closed: the server is being stopped.
        """
        with self._changed:
            if self._closed:
                raise Closed("the server is being stopped; send the request again later")
            if len(self._jobs) >= self._most:
                self._make_place()
            if len(self._jobs) >= self._most:
                batches = len(self._jobs) / self._engine.batch + 1
                raise Full(len(self._jobs), max(1, round(batches * self._seconds)))
            self._jobs.append(job)
            self._changed.notify_all()

    def stop(self) -> None:
        """Take no more, and fail what waits; the running batch goes on. Does not block."""
        with self._changed:
            self._closed = True
            left = list(self._jobs)
            self._jobs.clear()
            self._changed.notify_all()
        for job in left:
            job.tell(Failed("closing", "the server is being stopped; send the request again later"))

    def close(self, *, patience: float = 30.0) -> None:
        """Stop, and let the running batch end within `patience` seconds."""
        self.stop()
        self._thread.join(patience)
        for job in self._busy:
            job.gone.set()

    def _run(self) -> None:
        try:
            while (jobs := self._gather()) is not None:
                if jobs:
                    self._answer(jobs)
        except BaseException:
            log.critical("the engine has ended; no more requests are taken", exc_info=True)
        finally:
            self.stop()  # nobody waits for an engine that is gone, and /readyz says so

    def _answer(self, jobs: list[Job]) -> None:
        self._busy = tuple(jobs)
        began = time.monotonic()
        try:
            self._watch(len(jobs))
            self._engine.answer(jobs)
        except BaseException as error:
            log.exception("the engine failed on a batch of %d", len(jobs))
            for job in jobs:
                job.tell(Failed("guard_error", "the guard of this server could not look at the request"))
            if not isinstance(error, Exception):
                raise
        finally:
            self._busy = ()
            self._expected = min(len(jobs) + len(self._jobs), self._engine.batch)
            self._seconds += 0.2 * (time.monotonic() - began - self._seconds)

    def _gather(self) -> list[Job] | None:
        """Return the next batch, without jobs that are given up; None when the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closed)
            if self._closed:
                return None
            self._changed.wait_for(self._together, max(self._wait, SHARE * self._seconds))
            taken = [self._jobs.popleft() for _ in range(self._fitting())]
        return [job for job in taken if not _given_up(job)]

    def _make_place(self) -> None:
        """Let those go that nobody waits for any more."""
        self._jobs = deque([job for job in self._jobs if not _given_up(job)])

    def _together(self) -> bool:
        waiting = len(self._jobs)
        return waiting >= self._expected or self._closed or self._fitting() < waiting

    def _fitting(self) -> int:
        """Return how many of the jobs that wait make the next batch, in their order."""
        count = min(len(self._jobs), self._engine.batch)
        if self._pixels is None:
            return count
        sums = accumulate(job.pixels for job in islice(self._jobs, count))
        return max(1, sum(pixels <= self._pixels for pixels in sums)) if count else 0


def _given_up(job: Job) -> bool:
    if job.gone.is_set():
        job.tell(Failed("cancelled", "the client left"))
        return True
    if time.monotonic() > job.deadline:
        job.tell(Failed("deadline", "no answer was begun within the time that this server allows"))
        return True
    return False
