"""A server on a free port of loopback, in a thread, and an engine whose answers are known."""

from __future__ import annotations

import http.client
import json
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sightguard.serve.app import make_app
from sightguard.serve.job import Done, GuardId, Inspection, Job, LayerGate, Piece, Proof
from sightguard.serve.listen import bound, server
from sightguard.serve.service import Service
from sightguard.types import Sample

WORDS = ("a ", "short ", "answer")


@dataclass
class Scripted:
    """An engine that says `words`; it stops before each word until `go` is set, or nobody waits any more."""

    words: Sequence[str] = WORDS
    name: str = "tiny"
    guard: GuardId = field(default_factory=lambda: GuardId("scripted", "0" * 64))
    batch: int = 1
    rules: tuple[str, ...] = ()
    jobs: list[Job] = field(default_factory=list)
    held: int | None = None
    """Before which word it stops."""
    go: threading.Event = field(default_factory=threading.Event)

    def check(self, sample: Sample) -> None:
        pass

    def answer(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self.jobs.append(job)
            kinds = [isinstance(part, str) for turn in job.sample.messages for part in turn.parts]
            seen = {"text": sum(kinds), "image": len(kinds) - sum(kinds)}
            gate = () if job.plain else (LayerGate(3, 0.25, 0.5, False),)
            job.tell(Proof({"text": 0, "image": 0} if job.plain else seen, gate=gate))
            self._write(job)

    def _write(self, job: Job) -> None:
        for at, word in enumerate(self.words):
            while at == self.held and not self.go.wait(0.01):
                if job.gone.is_set():
                    return
            job.tell(Piece(word))
        job.tell(Done("stop", 3, len(self.words)))

    def inspect(self, samples: Sequence[Sample]) -> list[Inspection]:
        return [Inspection({"text": 1, "image": 0}) for _ in samples]


@contextmanager
def running(service: Service) -> Iterator[int]:
    """Serve, and return the port."""
    at, ready = bound("127.0.0.1", 0), threading.Event()
    web = server(make_app(service), ready=ready.set)
    thread = threading.Thread(target=web.run, kwargs={"sockets": [at]}, daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield at.getsockname()[1]
    finally:
        web.should_exit = True
        thread.join(30)


def post(port: int, path: str, body: Any, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Send JSON; headers replace the usual ones, and an empty one is not sent. The last is the body of the answer."""
    told = {"Host": f"127.0.0.1:{port}", "Content-Type": "application/json"}
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        line.putrequest("POST", path, skip_host=True)
        for name, value in {**told, "Content-Length": str(len(data))}.items():
            if value:
                line.putheader(name, value)
        line.endheaders(data)
        answer = line.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        line.close()


def metric(port: int, name: str) -> float:
    """Return the sum of a metric over its labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)
