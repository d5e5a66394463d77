"""How many requests share a batch where sixteen clients ask a model whose step costs the same for one as for all: counted, not timed."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sightguard.serve.job import Job
from tests.serve.fake import Fake, echo
from tests.serve.servers import Server, ask, running, says

CLIENTS, EACH, LEAST = 16, 8, 4.0
PATIENCE = 20.0
"""Seconds after which a batch is answered whatever waits; none takes them."""


@dataclass
class Clients:
    """Clients that ask again as soon as they are answered, and an engine that is slower than all of them.

    A batch lasts until every client that is not in it waits again, so that what is measured is how a queue gathers, not how fast a computer is.
    """

    batch: int
    busy: int = CLIENTS
    """Clients that are not done."""
    server: Server | None = None
    engine: Fake = field(init=False)
    late: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self.engine = Fake(self.answer, batch=self.batch)

    def answer(self, jobs: Sequence[Job]) -> None:
        end = time.monotonic() + PATIENCE
        assert self.server is not None
        while len(self.server.service.queue) < self.busy - len(jobs):
            time.sleep(0.001)
            self.late += time.monotonic() > end
            if time.monotonic() > end:
                break
        echo(jobs)

    def talk(self, number: int) -> list[str]:
        assert self.server is not None
        said = []
        for turn in range(EACH):
            reply = ask(self.server.port, says(f"client {number}, turn {turn}"))
            said.append(reply.json["choices"][0]["message"]["content"])
        with self._changed:
            self.busy -= 1
        return said


@pytest.mark.parametrize("batch", [16, 8, 5])
def test_sixteen_clients_share_batches_of_four_or_more(tmp_path: Path, batch: int) -> None:
    clients = Clients(batch)
    with running(clients.engine, tmp_path) as server, ThreadPoolExecutor(CLIENTS) as pool:
        clients.server = server
        said = list(pool.map(clients.talk, range(CLIENTS)))
    assert said == [[f"client {number}, turn {turn}" for turn in range(EACH)] for number in range(CLIENTS)]
    sizes = clients.engine.sizes
    assert clients.late == 0
    assert sum(sizes) == CLIENTS * EACH
    assert max(sizes) <= batch
    assert sum(sizes) / len(sizes) >= LEAST, sizes
