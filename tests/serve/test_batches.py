"""The pictures of one batch stay below the limit on pixels; the order of the requests is kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest

from sightguard.serve.job import Decoding, Done, Event, Job
from sightguard.serve.queue import Queue
from sightguard.types import Sample
from tests.serve.fake import Fake


def batches(sizes: Sequence[int], *, batch: int, pixels: int | None) -> list[list[int]]:
    """Return the pixels of the jobs of each batch; all jobs wait before the first is taken."""
    go, formed, told = threading.Event(), [], list[Event]()

    def answer(jobs: Sequence[Job]) -> None:
        assert go.wait(10)
        formed.append([job.pixels for job in jobs])
        for job in jobs:
            job.tell(Done("stop", 1, 1))

    queue = Queue(Fake(answer, batch=batch), most=100, wait=0, pixels=pixels)
    for at, size in enumerate((0, *sizes)):  # the first holds the engine until all are there
        queue.put(Job(str(at), Sample.of("hello", id=str(at)), Decoding(max_tokens=1), told.append, pixels=size))
        if at == 0:
            time.sleep(0.1)
    go.set()
    while len(told) < len(sizes) + 1:
        time.sleep(0.01)
    queue.close()
    return formed[1:]


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [
        ([0, 0, 0, 0, 0], [[0, 0, 0, 0], [0]]),
        ([60, 40, 1], [[60, 40], [1]]),
        ([60, 41, 59], [[60], [41, 59]]),
        ([101, 101], [[101], [101]]),
        ([1, 100, 0, 0], [[1], [100, 0, 0]]),
        ([30, 30, 30, 5, 5], [[30, 30, 30, 5], [5]]),
    ],
)
def test_a_batch_holds_no_more_pixels_than_it_may(sizes: list[int], wanted: list[list[int]]) -> None:
    assert batches(sizes, batch=4, pixels=100) == wanted


def test_without_a_limit_pixels_do_not_count() -> None:
    assert batches([101, 101, 500], batch=4, pixels=None) == [[101, 101, 500]]
