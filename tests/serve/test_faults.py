"""What goes wrong around the model: clients that leave or dawdle, engines that fail or die, servers that are stopped."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import pytest

from sightguard.errors import OutputError
from sightguard.serve import connections, listen
from sightguard.serve.entry import Entry
from sightguard.serve.job import Inspection, Job, Piece
from sightguard.serve.log import AuditLog
from sightguard.serve.streaming import Streaming
from sightguard.types import Sample
from tests.serve.fake import Fake, echo, endless, proof, silent, slow
from tests.serve.servers import CHAT, Server, ask, running, says, until

SECRET = "a-word-that-only-the-failing-part-knew"


def send(port: int, body: object, promised: int | None = None, route: str = CHAT) -> socket.socket:
    """Send a request by hand, and leave the connection open."""
    data = json.dumps(body).encode()
    head = f"POST {route} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {promised or len(data)}\r\n\r\n"
    opened = socket.create_connection(("127.0.0.1", port), timeout=10)
    opened.sendall(head.encode() + data)
    return opened


def fails(*_: object) -> NoReturn:
    raise RuntimeError(SECRET)


def answer_of(port: int, words: str) -> str:
    content: str = ask(port, says(words)).json["choices"][0]["message"]["content"]
    return content


def test_64_clients_at_once_each_get_their_own_answer(tmp_path: Path) -> None:
    engine = Fake(batch=16)
    with running(engine, tmp_path) as server, ThreadPoolExecutor(64) as clients:
        words = [f"words of client {i}" for i in range(64)]
        assert list(clients.map(lambda word: answer_of(server.port, word), words)) == words
        assert server.outcomes() == ["answered"] * 64
        assert len({line["id"] for line in server.lines()}) == 64
    assert sum(engine.sizes) == 64


def test_a_client_that_leaves_a_stream_frees_the_engine(tmp_path: Path) -> None:
    engine = Fake(endless, batch=1)
    with running(engine, tmp_path) as server:
        with send(server.port, says("hello", stream=True)) as left:
            got = b""
            while b"data: " not in got and (more := left.recv(4096)):
                got += more
            assert engine.busy
        assert until(lambda: not engine.busy)
        assert until(lambda: len(server.outcomes()) == 2)
        first, last = server.lines()
        assert (first["outcome"], last["outcome"], last["status"]) == ("streaming", "cancelled", 499)
        assert first["id"] == last["id"]


def test_a_client_that_stops_reading_a_stream_and_leaves_frees_the_engine(tmp_path: Path) -> None:
    def flood(jobs: Sequence[Job]) -> None:
        (job,) = jobs
        job.tell(proof(job))
        while not job.gone.wait(0.001):
            job.tell(Piece("x" * 100_000))

    engine = Fake(flood, batch=1)
    with running(engine, tmp_path) as server:
        with send(server.port, says("hello", stream=True)):
            time.sleep(0.3)  # the buffers between the two are full: the server waits to send
        assert until(lambda: not engine.busy)
        assert until(lambda: server.outcomes() == ["streaming", "cancelled"]), server.outcomes()


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_before_there_is_an_answer(tmp_path: Path, stream: bool) -> None:
    engine = Fake(silent, batch=1)
    with running(engine, tmp_path) as server:
        with send(server.port, says("hello", stream=stream)):
            assert until(lambda: engine.busy)
        assert until(lambda: not engine.busy)
        assert until(lambda: server.outcomes() == ["cancelled"])


def test_a_client_that_leaves_while_it_sends(tmp_path: Path) -> None:
    with running(Fake(), tmp_path) as server:
        send(server.port, says("hello"), promised=1000).close()
        assert until(lambda: len(server.lines()) == 1)
        assert [(line["outcome"], line["status"]) for line in server.lines()] == [("cancelled", 499)]


def test_a_client_that_left_while_it_waited_is_never_answered(tmp_path: Path) -> None:
    engine = Fake(slow(0.3), batch=1)
    with running(engine, tmp_path) as server, ThreadPoolExecutor(1) as other:
        first = other.submit(ask, server.port, says("first"))
        assert until(lambda: engine.busy)
        send(server.port, says("second")).close()
        assert first.result().status == 200
        assert until(lambda: len(server.lines()) == 2)
    assert engine.sizes == [1]


def test_a_full_queue_says_when_to_come_back(tmp_path: Path) -> None:
    engine = Fake(slow(1), batch=1)
    with running(engine, tmp_path, queue=1) as server, ThreadPoolExecutor(2) as clients:
        one = clients.submit(ask, server.port, says("one"))
        assert until(lambda: engine.busy)
        two = clients.submit(ask, server.port, says("two"))
        assert until(lambda: len(server.service.queue) == 1)
        full = ask(server.port, says("three"))
        assert (full.status, full.code) == (429, "queue_full")
        assert int(full.headers["retry-after"]) >= 1
        assert (one.result().status, two.result().status) == (200, 200)


def test_what_is_not_answered_in_time_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sightguard.serve.exchange.GRACE", 0.1)
    engine = Fake(silent, batch=1)
    with running(engine, tmp_path, deadline=0.3) as server:
        late = ask(server.port, says("hello"))
        assert (late.status, late.code) == (504, "deadline_exceeded")
        assert until(lambda: not engine.busy)
        assert server.outcomes() == ["failed"]


def test_a_guard_that_raises_refuses_and_says_nothing_of_why(tmp_path: Path) -> None:
    engine = Fake(fails)
    with running(engine, tmp_path) as server:
        reply = ask(server.port, says("hello"))
        (choice,) = reply.json["choices"]
        assert (choice["finish_reason"], choice["message"]["content"]) == ("content_filter", None)
        assert reply.json["sightguard"]["rule"] == "guard_error"
        assert json.loads(reply.headers["x-sightguard"])["rule"] == "guard_error"
        streamed = ask(server.port, says("hello", stream=True))
        assert b'"content_filter"' in streamed.data
        assert SECRET.encode() not in reply.data + streamed.data
        engine.does = echo
        assert answer_of(server.port, "again") == "again"
        assert server.outcomes() == ["refused", "streaming", "refused", "answered"]


def test_a_guard_that_raises_in_the_middle_of_an_answer_takes_it_back(tmp_path: Path) -> None:
    def breaks(jobs: Sequence[Job]) -> None:
        for job in jobs:
            job.tell(proof(job))
            job.tell(Piece("half an answer"))
        raise RuntimeError(SECRET)

    with running(Fake(breaks), tmp_path) as server:
        whole = ask(server.port, says("hello"))
        assert b"half" not in whole.data
        assert whole.json["choices"][0]["message"]["refusal"]


def test_an_engine_that_ends_is_noticed(tmp_path: Path) -> None:
    def dies(jobs: Sequence[Job]) -> None:
        raise SystemExit(SECRET)

    with running(Fake(dies), tmp_path) as server:
        assert ask(server.port, path="/readyz").status == 200
        assert ask(server.port, says("hello")).json["sightguard"]["rule"] == "guard_error"
        assert until(lambda: ask(server.port, path="/readyz").status == 503)
        began = time.monotonic()
        refused = ask(server.port, says("hello"))
        assert (refused.status, refused.code) == (503, "closing")
        assert time.monotonic() - began < 5


def test_a_counter_that_fails_harms_nobody(tmp_path: Path) -> None:
    with running(Fake(), tmp_path) as server:
        server.service.queue._watch = fails
        assert ask(server.port, says("one")).json["sightguard"]["rule"] == "guard_error"
        server.service.queue._watch = lambda size: None
        assert answer_of(server.port, "two") == "two"


@pytest.mark.parametrize("part", ["check", "inspect"])
def test_what_fails_inside_is_an_error_without_its_words(tmp_path: Path, part: str) -> None:
    engine = Fake(checks=fails) if part == "check" else Fake(looks=fails)
    with running(engine, tmp_path) as server:
        reply = (
            ask(server.port, says("hello"))
            if part == "check"
            else ask(server.port, {"input": "hello"}, "/v1/moderations")
        )
        assert (reply.status, reply.json["error"]["type"]) == (500, "server_error")
        assert SECRET.encode() not in reply.data
        assert [(line["outcome"], line["trouble"]) for line in server.lines()] == [("failed", "internal")]


def test_nothing_is_answered_that_cannot_be_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> NoReturn:
        raise OutputError("the disk is full")

    with running(Fake(), tmp_path) as server:
        monkeypatch.setattr(type(server.service.audit), "write", full)
        for body in (says("hello"), says("hello", stream=True)):
            lost = ask(server.port, body)
            assert (lost.status, lost.code) == (503, "log_unavailable")
            assert b"hello" not in lost.data


def test_a_stream_whose_beginning_could_not_be_logged_is_logged_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(Fake(), tmp_path) as server:
        write = AuditLog.write
        failures = iter([OSError("no room")])

        def once(self: AuditLog, entry: Entry) -> None:
            for error in failures:
                raise error
            write(self, entry)

        monkeypatch.setattr(AuditLog, "write", once)
        assert ask(server.port, says("hello", stream=True)).code == "log_unavailable"
        assert [(line["outcome"], line["status"]) for line in server.lines()] == [("failed", 503)]
        counts = ask(server.port, path="/metrics").data.decode()
        assert 'sightguard_requests_total{route="/v1/chat/completions",status="503"} 1.0' in counts
        assert 'status="200"' not in counts


def test_a_server_that_stops_ends_what_runs_and_fails_what_waits(tmp_path: Path) -> None:
    engine = Fake(slow(1), batch=1)
    with running(engine, tmp_path) as server, ThreadPoolExecutor(2) as clients:
        runs = clients.submit(ask, server.port, says("runs"))
        assert until(lambda: engine.busy)
        waits = clients.submit(ask, server.port, says("waits"))
        assert until(lambda: len(server.service.queue) == 1)
        server.stop()
        failed, answered = waits.result(), runs.result()
        assert (failed.status, failed.code) == (503, "closing")
        assert "retry-after" in failed.headers
        assert answered.status == 200
    assert sorted(server.outcomes()) == ["answered", "failed"]


def test_what_does_not_end_in_time_is_given_up_by_a_server_that_stops_and_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listen, "ENDING", 1)
    engine = Fake(slow(2), batch=1)
    with running(engine, tmp_path) as server, ThreadPoolExecutor(1) as client:
        runs = client.submit(ask, server.port, says("runs"))
        assert until(lambda: engine.busy)
        server.stop()
        assert (runs.result().status, runs.result().code) == (503, "closing")
    assert [(line["outcome"], line["trouble"]) for line in server.lines()] == [("failed", "closing")]


def test_clients_that_dawdle_hold_up_nobody(tmp_path: Path) -> None:
    with running(Fake(), tmp_path) as server:
        head = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(50)]
        for one in head:
            one.sendall(f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".encode())
        body = [send(server.port, says("slow"), promised=10_000) for _ in range(50)]
        began = time.monotonic()
        assert answer_of(server.port, "quick") == "quick"
        assert time.monotonic() - began < 2
        for one in (*head, *body):
            one.close()


def test_a_head_that_never_ends_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 0.3)
    with running(Fake(), tmp_path) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as dawdles:
            dawdles.sendall(b"GET /healthz HTTP/1.1\r\n")
            assert dawdles.recv(100) == b""
        kept = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
        for _ in range(3):  # one that asks now and then is not given up between its requests
            kept.request("GET", "/healthz")
            assert kept.getresponse().read()
            time.sleep(0.4)
        kept.close()


def test_a_body_that_never_ends_is_given_up(tmp_path: Path) -> None:
    with running(Fake(), tmp_path, deadline=0.3) as server, send(server.port, says("x"), promised=1000) as dawdles:
        answer = http.client.HTTPResponse(dawdles)
        answer.begin()
        assert (answer.status, json.loads(answer.read())["error"]["code"]) == (408, "body_timeout")
        assert [(line["outcome"], line["status"]) for line in server.lines()] == [("rejected", 408)]


@pytest.mark.parametrize("chunked", [False, True])
def test_100_mb_are_refused_and_not_kept(tmp_path: Path, chunked: bool) -> None:
    pieces = (b"[" * 2**20 for _ in range(100))
    with running(Fake(), tmp_path) as server:
        reply = ask(server.port, data=pieces if chunked else b"".join(pieces))
        assert (reply.status, reply.code) == (413, "request_too_large")
        assert answer_of(server.port, "after") == "after"
        assert b'sightguard_errors_total{kind="too_large"} 1.0' in ask(server.port, path="/metrics").data


def test_a_moderation_that_waits_too_long_is_given_up(tmp_path: Path) -> None:
    go = threading.Event()

    def waits(sample: Sample) -> Inspection:
        go.wait(10)
        return Inspection({"text": 1})

    with running(Fake(looks=waits), tmp_path, deadline=0.5) as server, ThreadPoolExecutor(1) as other:
        first = other.submit(ask, server.port, {"input": "one"}, "/v1/moderations")
        assert until(lambda: len(server.service.threads.looking) == 1)
        late = ask(server.port, {"input": "two"}, "/v1/moderations")
        assert (late.status, late.code) == (504, "deadline_exceeded")
        assert (first.result().status, first.result().code) == (504, "deadline_exceeded")
        go.set()


def lines_by_id(server: Server) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for line in server.lines():
        found.setdefault(line["id"], []).append(line["outcome"])
    return found


def test_every_request_is_logged_once_and_a_stream_twice(tmp_path: Path) -> None:
    with running(Fake(), tmp_path) as server:
        replies = [
            ask(server.port, says("hello")),
            ask(server.port, says("hello", stream=True)),
            ask(server.port, data=b"{"),
            ask(server.port, says("hello", model="another")),
            ask(server.port, path="/v1/models"),
            ask(server.port, says("hello"), Content_Type="text/plain"),
        ]
        ids = [reply.headers["x-request-id"] for reply in replies]
        expected = [["answered"], ["streaming", "answered"], ["rejected"], ["rejected"], ["answered"], ["rejected"]]
        assert until(lambda: lines_by_id(server) == dict(zip(ids, expected, strict=True))), lines_by_id(server)


def test_a_stream_that_nobody_began_to_read_is_ended() -> None:
    class Talked:
        headers: Mapping[str, str] = {}
        ended = 0

        async def stream(self) -> AsyncIterator[bytes]:
            yield b""

        async def end(self) -> None:
            self.ended += 1

    async def receive() -> Any:
        await asyncio.sleep(10)

    async def send(message: Any) -> NoReturn:
        raise OSError("the client is gone")

    talked = Talked()
    streaming = Streaming(talked)  # type: ignore[arg-type]
    with pytest.raises((OSError, ExceptionGroup)):
        asyncio.run(streaming({"type": "http"}, receive, send))
    assert talked.ended == 1
