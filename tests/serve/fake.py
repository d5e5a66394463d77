"""An engine without a model: it does what a test tells it to."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sightguard.serve.job import Done, Failed, GuardId, Inspection, Job, Piece, Proof
from sightguard.types import Image, Sample

Answer = Callable[[Sequence[Job]], None]


def proof(job: Job) -> Proof:
    parts = [part for message in job.sample.messages for part in message.parts]
    pictures = sum(isinstance(part, Image) for part in parts)
    return Proof({"text": len(parts) - pictures, "image": pictures}, ("fake",))


def echo(jobs: Sequence[Job]) -> None:
    """Answer each with its own last text."""
    for job in jobs:
        text = [part for part in job.sample.messages[-1].parts if isinstance(part, str)][-1]
        job.tell(proof(job))
        job.tell(Piece(text))
        job.tell(Done("stop", 1, 1))


def endless(jobs: Sequence[Job]) -> None:
    """Write until the client has left; then the engine is idle again."""
    (job,) = jobs
    job.tell(proof(job))
    while not job.gone.wait(0.01):
        job.tell(Piece("on "))


def silent(jobs: Sequence[Job]) -> None:
    """Say nothing until the client has left."""
    for job in jobs:
        assert job.gone.wait(30)
        job.tell(Failed("cancelled", "the client left"))


def slow(seconds: float) -> Answer:
    def answer(jobs: Sequence[Job]) -> None:
        time.sleep(seconds)
        echo(jobs)

    return answer


@dataclass
class Fake:
    """See `sightguard.serve.job.Engine`."""

    does: Answer = echo
    batch: int = 4
    checks: Callable[[Sample], None] = lambda sample: None
    looks: Callable[[Sample], Inspection] = lambda sample: Inspection({"text": 1})
    name: str = "fake"
    guard: GuardId = field(default_factory=lambda: GuardId("fake", "0" * 64))
    rules: tuple[str, ...] = ()
    sizes: list[int] = field(default_factory=list)
    busy: bool = False

    def check(self, sample: Sample) -> None:
        self.checks(sample)

    def answer(self, jobs: Sequence[Job]) -> None:
        self.sizes.append(len(jobs))
        self.busy = True
        try:
            self.does(jobs)
        finally:
            self.busy = False

    def inspect(self, samples: Sequence[Sample]) -> list[Inspection]:
        return [self.looks(sample) for sample in samples]
