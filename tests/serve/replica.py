"""An engine without a model, that can be sent to another process: it says who it is, and asks its canary how often it was asked."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sightguard.errors import CanaryFailed
from sightguard.serve.job import Done, GuardId, Inspection, Job, Piece, Proof
from sightguard.serve.listen import bound, serve
from sightguard.serve.on_ray import builder
from sightguard.serve.service import Service
from sightguard.serve.settings import Settings
from sightguard.types import Sample

GUARD = GuardId("echo", "0" * 64)


@dataclass
class Echo:
    """Says the number of its process, word by word."""

    name: str = "echo"
    guard: GuardId = GUARD
    batch: int = 4
    rules: tuple[str, ...] = field(default=())

    def check(self, sample: Sample) -> None:
        pass

    def answer(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            job.tell(Proof({"text": 1, "image": len(job.sample.images)}, ("echo",), rule="echo"))
            for word in ("process", " ", str(os.getpid())):
                job.tell(Piece(word))
            job.tell(Done("stop", 1, 3))

    def inspect(self, samples: Sequence[Sample]) -> list[Inspection]:
        return [Inspection({"text": 1, "image": 0}) for _ in samples]


@dataclass(frozen=True)
class Make:
    """Makes the service of a replica, after a canary that leaves a file behind."""

    asked: Path
    passes: bool = True

    def __call__(self) -> Service:
        (self.asked / str(os.getpid())).touch()
        if not self.passes:
            raise CanaryFailed("the guard does nothing")
        return Service(Echo(), Settings(playground=False), canary={"harmful": 1})


class Listening:
    """A replica as an actor: its application behind a port of its own."""

    def __init__(self, make: Make) -> None:
        self.app = builder(make)()
        self.at = bound("127.0.0.1", 0)
        threading.Thread(target=serve, args=(self.app, self.at), daemon=True).start()

    def port(self) -> int:
        number: int = self.at.getsockname()[1]
        return number
