"""Who waits, who makes place, and how many share a batch."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from sightguard.serve.job import Decoding, Event, Failed, Job
from sightguard.serve.queue import Full, Queue
from sightguard.types import Sample
from tests.serve.fake import Fake, echo
from tests.serve.servers import until

PATIENCE = 20.0
"""Seconds after which a test gives up; none takes them."""


def job(name: str, **options: float) -> tuple[Job, list[Event]]:
    told: list[Event] = []
    return Job(name, Sample.of("hello", id=name), Decoding(max_tokens=1), told.append, **options), told  # type: ignore[arg-type]


@contextmanager
def held(most: int) -> Iterator[tuple[Queue, Fake, threading.Event]]:
    """A queue whose engine is busy with a first job until it is let go."""
    go = threading.Event()

    def waits(jobs: Sequence[Job]) -> None:
        go.wait(PATIENCE)
        echo(jobs)

    engine = Fake(waits, batch=1)
    queue = Queue(engine, most=most, wait=0.0)
    queue.put(job("first")[0])
    assert until(lambda: engine.busy)
    try:
        yield queue, engine, go
    finally:
        go.set()
        queue.close()


def test_who_left_and_who_is_late_makes_place_for_others() -> None:
    with held(most=4) as (queue, engine, go):
        waiting = [job(f"waits {i}") for i in range(2)]
        left, late = job("left"), job("late", deadline=time.monotonic() + 0.01)
        for one, _ in (*waiting, left, late):
            queue.put(one)
        left[0].gone.set()
        time.sleep(0.02)
        new = [job(f"new {i}") for i in range(2)]
        for one, _ in new:
            queue.put(one)
        assert [type(event) for event in left[1] + late[1]] == [Failed, Failed]
        assert [event.trouble for event in left[1] + late[1] if isinstance(event, Failed)] == ["cancelled", "deadline"]
        with pytest.raises(Full, match="4 requests wait already"):
            queue.put(job("one too many")[0])
        go.set()
        assert until(lambda: len(queue) == 0 and not engine.busy and bool(new[1][1]))
    assert engine.sizes == [1] * 5
    assert not any(isinstance(event, Failed) for _, events in (*waiting, *new) for event in events)
