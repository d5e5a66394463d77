"""A moderation that is asked of a server: what its line of the log proves, and when it is given up."""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from sightguard.serve.inspected import as_one
from sightguard.serve.job import Inspection, LayerGate, no_memory
from sightguard.types import Risk, Sample
from tests.serve.fake import Fake
from tests.serve.servers import ask, running, until
from tests.serve.test_faults import send
from tests.serve.test_waiting import DATA, PNG, noted, pictured

ROUTE = "/v1/moderations"
SAFE = Inspection({"text": 1, "image": 0}, gate=(LayerGate(3, 0.1, 0.5, False),))
FIRED = Inspection({"text": 1, "image": 0}, gate=(LayerGate(3, 0.9, 0.5, True),))
FLAGGED = Inspection({"text": 1, "image": 1}, Risk("fraud", 2, 0.9))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Looks(Fake):
    """Looks in batches of four; each batch is noted, and `first` is called in it."""

    def __init__(self, first: Callable[[], None]) -> None:
        super().__init__(looks=lambda sample: SAFE)
        self.first, self.batches = first, list[int]()

    def inspect(self, samples: Sequence[Sample]) -> list[Inspection]:
        self.batches.append(len(samples))
        self.first()
        return super().inspect(samples)


def test_the_line_of_a_flagged_input_says_what_came_and_what_was_seen(tmp_path: Path) -> None:
    with running(Fake(looks=lambda sample: FLAGGED), tmp_path) as server:
        assert server.service.audit is not None
        server.service.audit.content = True
        assert ask(server.port, {"input": pictured(DATA)}, ROUTE).json["results"][0]["flagged"]
        (line,) = server.lines()
    assert (line["outcome"], line["model"]) == ("answered", "sightguard-inspector")
    assert line["parts"] == {
        "received": {"text": 1, "image": 1},
        "inspected": {"text": 1, "image": 1},
        "hashes": [
            {"turn": 0, "role": "user", "kind": "image", "bytes": len(PNG), "sha256": sha256(PNG)},
            {"turn": 0, "role": "user", "kind": "text", "bytes": 14, "sha256": sha256(b"what is this ?")},
        ],
    }
    assert line["verdict"] == {"type": "fraud", "level": 2, "p_unsafe": 0.9}
    assert line["inputs"] == [{"inspected": {"text": 1, "image": 1}, "verdict": line["verdict"], "gate": []}]
    assert line["content"] == [{"role": "user", "texts": ["what is this ?"]}]


def test_of_several_inputs_each_is_listed_and_the_worst_stands_in_front(tmp_path: Path) -> None:
    texts = ["one", "two", "three", "four", "five", "six"]
    looks = {"two": FIRED}
    engine = Fake(looks=lambda sample: looks.get(str(sample.messages[0].parts[0]), SAFE))
    with running(engine, tmp_path) as server:
        results = ask(server.port, {"input": texts}, ROUTE).json["results"]
        (line,) = server.lines()
        counts = ask(server.port, path="/metrics").data
    assert [one["flagged"] for one in results] == [text == "two" for text in texts]
    assert [one["gate"][0]["fired"] for one in line["inputs"]] == [text == "two" for text in texts]
    assert [(part["turn"], part["sha256"]) for part in line["parts"]["hashes"]] == [
        (i, sha256(text.encode())) for i, text in enumerate(texts)
    ]
    assert (line["parts"]["received"], line["parts"]["inspected"]) == ({"text": 6, "image": 0},) * 2
    assert line["gate"] == [{"layer": 3, "score": 0.9, "threshold": 0.5, "fired": True}]
    assert b"sightguard_gate_fired_total 1.0" in counts


def test_what_no_inspector_looks_at_is_logged_too(tmp_path: Path) -> None:
    with running(Fake(looks=lambda sample: Inspection({"text": 0, "image": 0})), tmp_path) as server:
        assert ask(server.port, {"input": "hello"}, ROUTE).code == "not_inspected"
        (line,) = server.lines()
    assert (line["outcome"], line["status"]) == ("rejected", 400)
    assert (line["parts"]["received"]["text"], line["parts"]["inspected"]["text"]) == (1, 0)
    assert line["parts"]["hashes"][0]["sha256"] == sha256(b"hello")


def test_between_its_batches_it_is_seen_that_the_client_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began, go = threading.Event(), threading.Event()

    def first() -> None:
        began.set()
        assert go.wait(20)

    engine = Looks(first)
    with running(engine, tmp_path) as server:
        waits = noted(server, monkeypatch)
        with send(server.port, {"input": ["x"] * 12}, route=ROUTE):
            assert began.wait(10)
        assert until(waits[0].gone.is_set)
        go.set()
        assert until(lambda: server.outcomes() == ["cancelled"])
    assert engine.batches == [4]


def test_between_its_batches_it_is_seen_that_the_time_is_over(tmp_path: Path) -> None:
    go = threading.Event()
    engine = Looks(lambda: assert_true(go.wait(20)))
    with running(engine, tmp_path, deadline=0.3) as server:
        late = ask(server.port, {"input": ["x"] * 12}, ROUTE)
        assert (late.status, late.code) == (504, "deadline_exceeded")
        go.set()
        server.service.threads.looking._threads.shutdown()
        assert [(line["outcome"], line["trouble"]) for line in server.lines()] == [("failed", "deadline")]
    assert engine.batches == [4]


def assert_true(value: bool) -> None:
    assert value


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("Tried to allocate 2 GiB"),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
    ],
)
def test_without_memory_the_client_is_told_to_come_back(tmp_path: Path, error: Exception) -> None:
    def first() -> None:
        raise error

    assert no_memory(error)
    with running(Looks(first), tmp_path) as server:
        reply = ask(server.port, {"input": "hello"}, ROUTE)
        assert (reply.status, reply.code, reply.headers["retry-after"]) == (503, "out_of_memory", "1")
        assert b"GiB" not in reply.data
        assert [(line["outcome"], line["trouble"]) for line in server.lines()] == [("failed", "out_of_memory")]


def test_another_failure_is_not_taken_for_want_of_memory() -> None:
    assert not no_memory(RuntimeError("index out of range"))


def test_of_each_thing_the_worst_is_taken() -> None:
    nothing = as_one([])
    assert (dict(nothing.inspected), nothing.risk, nothing.gate) == ({}, None, ())
    risks = [Risk("safe", 0, 0.4), Risk("fraud", 2, 0.6), Risk("self_harm", 2, math.nan), Risk("hate", 1, 0.99)]
    gates = [LayerGate(4, 1.0, 0.5, True), LayerGate(4, math.nan, 0.5, False), LayerGate(2, 0.1, 0.5, False)]
    found = [Inspection({"text": 1, "image": 1}, risk) for risk in risks]
    found += [Inspection({"text": 2}, gate=(gate,)) for gate in gates]
    one = as_one(found)
    assert dict(one.inspected) == {"text": 10, "image": 4}
    assert one.risk is risks[2]
    assert one.gate == (gates[2], gates[0])
    assert as_one(found[::-1]).gate == one.gate
