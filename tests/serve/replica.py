"""An engine without a model, that can be made in another process: it says which process it is, and each canary leaves a file behind."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sightguard.engine.make import Make, Show
from sightguard.errors import CanaryFailed
from sightguard.serve.job import Done, GuardId, Inspection, Job, Piece, Proof
from sightguard.serve.log import AuditLog
from sightguard.serve.service import Service
from sightguard.serve.settings import Settings
from sightguard.types import Sample

GUARD = GuardId("echo", "0" * 64)


@dataclass
class Echo:
    """Says the number of its process, word by word; asked to be slow, it goes on until its client leaves, and notes that."""

    name: str = "echo"
    guard: GuardId = GUARD
    batch: int = 4
    rules: tuple[str, ...] = field(default=())
    left: Path | None = None
    """File that is written when a client left."""

    def check(self, sample: Sample) -> None:
        pass

    def answer(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            job.tell(Proof({"text": 1, "image": len(job.sample.images)}, ("echo",), rule="echo"))
            for word in ("process", " ", str(os.getpid())):
                job.tell(Piece(word))
            if job.sample.messages[-1].text == "slow":
                self._go_on(job)
            job.tell(Done("stop", 1, 3))

    def _go_on(self, job: Job) -> None:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            job.tell(Piece(" slow"))
            if job.gone.wait(0.05):
                assert self.left is not None
                self.left.touch()
                return

    def inspect(self, samples: Sequence[Sample]) -> list[Inspection]:
        return [Inspection({"text": 1, "image": 0}) for _ in samples]


@dataclass(frozen=True, kw_only=True)
class Pretended(Make):
    """Makes the service of a replica, after a canary that leaves a file in the folder of the guard; it fails while "fails" is there."""

    def __call__(self, show: Show = lambda stage, done, total: None) -> Service:
        asked = Path(self.guard or "")
        (asked / str(os.getpid())).touch()
        if (asked / "fails").exists():
            raise CanaryFailed("the guard does nothing: it is a stand-in")
        audit = None if self.audit is None else AuditLog(self.audit)
        return Service(Echo(left=asked / "left"), self.settings, self.keys, audit, {"harmful": 1})


def pretended(folder: Path) -> Pretended:
    return Pretended(model="echo", guard=str(folder), settings=Settings(playground=False))
