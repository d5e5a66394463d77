"""How long a request is worked on: nobody is held up by another's pictures, time counts from its entry, and who left is not worked for."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from sightguard.data.blank import blank
from sightguard.data.pictures import decode
from sightguard.errors import PictureError
from sightguard.serve.job import Job
from sightguard.serve.record import Record
from sightguard.serve.threads import FETCHERS, Pool, has_address
from sightguard.serve.waiting import Waiting, heed, heeded
from sightguard.serve.wire.errors import WireError
from tests.serve.fake import Fake, echo
from tests.serve.servers import Server, ask, running, says, until
from tests.serve.test_faults import send
from tests.serve.test_fetch import HOST, fetcher
from tests.serve.web import web

PNG = blank(8, 8).read()
DATA = "data:image/png;base64," + base64.b64encode(PNG).decode()


def pictured(url: str, count: int = 1) -> list[dict[str, object]]:
    pictures: list[dict[str, object]] = [{"type": "image_url", "image_url": {"url": url}} for _ in range(count)]
    return [*pictures, {"type": "text", "text": "what is this ?"}]


class Host:
    """Fetches pictures, each when it is let."""

    def __init__(self) -> None:
        self.asked, self.go = 0, threading.Event()

    def __call__(self, url: str) -> bytes:
        self.asked += 1
        assert self.go.wait(30)
        return PNG


def fetching(server: Server) -> Host:
    """Let a server fetch, as one that was started with a list of hosts."""
    server.service.fetch = host = Host()
    return host


def noted(server: Server, monkeypatch: pytest.MonkeyPatch) -> list[Waiting]:
    """Who waits for the requests of a server from now on."""
    made, waits = server.service.waiting, list[Waiting]()

    def waiting(record: Record) -> Waiting:
        waits.append(made(record))
        return waits[-1]

    monkeypatch.setattr(server.service, "waiting", waiting)
    return waits


def test_slow_hosts_hold_up_neither_the_log_nor_who_brings_the_pictures_along(tmp_path: Path) -> None:
    count = 40  # more than Python's own pool of threads has
    with running(Fake(), tmp_path) as server, ThreadPoolExecutor(count) as clients:
        host = fetching(server)
        slow = [clients.submit(ask, server.port, says(pictured(f"https://{HOST}/a.png"))) for _ in range(count)]
        try:
            assert until(lambda: host.asked >= FETCHERS)
            assert ask(server.port, path="/v1/models", seconds=5).status == 200
            assert ask(server.port, says(pictured(DATA)), seconds=5).status == 200
            assert ask(server.port, {"input": pictured(DATA)}, "/v1/moderations", seconds=5).code == "not_inspected"
            assert host.asked == FETCHERS
        finally:
            host.go.set()
        assert [one.result().status for one in slow] == [200] * count


def test_the_deadline_counts_from_the_entry_and_ends_reading(tmp_path: Path) -> None:
    with running(Fake(), tmp_path, deadline=0.3) as server:
        host = fetching(server)
        late = ask(server.port, says(pictured(f"https://{HOST}/a.png", 4)), seconds=10)
        assert (late.status, late.code) == (504, "deadline_exceeded")
        host.go.set()
        server.service.threads.fetching._threads.shutdown()
        assert host.asked == 1
        assert [(line["outcome"], line["status"], line["trouble"]) for line in server.lines()] == [
            ("failed", 504, "deadline")
        ]


def test_what_was_read_slowly_has_less_time_left(tmp_path: Path) -> None:
    ends: list[float] = []

    def note(jobs: Sequence[Job]) -> None:
        ends.extend(job.deadline for job in jobs)
        echo(jobs)

    with running(Fake(note), tmp_path, deadline=20) as server:
        host = fetching(server)
        threading.Timer(0.4, host.go.set).start()
        began = time.monotonic()
        assert ask(server.port, says(pictured(f"https://{HOST}/a.png"))).status == 200
        assert began <= ends[0] - 20 <= began + 0.3


@pytest.mark.parametrize("path", ["chat", "moderation"])
def test_a_client_that_leaves_while_its_pictures_are_fetched_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    content = pictured(f"https://{HOST}/a.png", 8)
    body, route = (says(content), "/v1/chat/completions") if path == "chat" else ({"input": content}, "/v1/moderations")
    with running(Fake(), tmp_path) as server:
        host, waits = fetching(server), noted(server, monkeypatch)
        with send(server.port, body, route=route):
            assert until(lambda: host.asked == 1)
        assert until(waits[0].gone.is_set)
        host.go.set()
        assert until(lambda: server.outcomes() == ["cancelled"])
        assert [(line["status"], line["trouble"]) for line in server.lines()] == [(499, "cancelled")]
        assert host.asked == 1


def test_a_client_that_leaves_while_its_pictures_are_decoded_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go = threading.Event(), threading.Event()
    decoded = []

    def slow(*args: object, **named: object) -> object:
        decoded.append(1)
        began.set()
        assert go.wait(30)
        return decode(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("sightguard.serve.wire.pictures.decode", slow)
    with running(Fake(), tmp_path) as server:
        waits = noted(server, monkeypatch)
        with send(server.port, says(pictured(DATA, 8))):
            assert began.wait(10)
        assert until(waits[0].gone.is_set)
        go.set()
        assert until(lambda: server.outcomes() == ["cancelled"])
    assert len(decoded) == 1


def test_a_fetch_has_no_more_time_than_its_request() -> None:
    done = threading.Event()

    def never(handler: BaseHTTPRequestHandler) -> None:
        done.wait(8)

    with web({"/a.png": never}) as host:
        began = time.monotonic()
        with heeded(Waiting(began, 0.2)), pytest.raises(PictureError, match="was not there"):
            fetcher(host, seconds=8)(f"http://{HOST}:{host.port}/a.png")
        assert time.monotonic() - began < 4
        done.set()


def test_a_pool_is_bounded_and_what_waits_too_long_is_never_begun() -> None:
    go, ran = threading.Event(), list[str]()

    def work(name: str) -> str:
        assert go.wait(10)
        ran.append(name)
        return name

    async def asked() -> list[object]:
        pool, now = Pool("test", 1, 2), time.monotonic()
        runs = asyncio.create_task(pool.run(partial(work, "runs"), Waiting(now, 60)))
        late = asyncio.create_task(pool.run(partial(work, "late"), Waiting(now, 0.05)))
        stays = asyncio.create_task(pool.run(partial(work, "stays"), Waiting(now, 60)))
        await asyncio.sleep(0)
        assert len(pool) == 3
        with pytest.raises(WireError, match="too many requests wait") as full:
            await pool.run(partial(work, "full"), Waiting(now, 60))
        assert (full.value.status, full.value.code, "Retry-After" in full.value.headers) == (429, "queue_full", True)
        with pytest.raises(WireError) as over:
            await late
        assert over.value.status == 504
        go.set()
        return [await runs, await stays, len(pool)]

    assert asyncio.run(asked()) == ["runs", "stays", 0]
    assert ran == ["runs", "stays"]


@pytest.mark.parametrize(("left", "seconds", "status"), [(True, 60, 499), (False, 0, 504), (True, 0, 499)])
def test_work_that_failed_because_nobody_waits_is_told_so(left: bool, seconds: float, status: int) -> None:
    waiting = Waiting(time.monotonic(), 60)

    def work() -> None:
        if left:
            waiting.leave()
        if not seconds:
            object.__setattr__(waiting, "seconds", 0.0)
        raise PictureError("the picture was not there")

    async def asked() -> None:
        await Pool("test", 1, 1).run(work, waiting)

    with pytest.raises(WireError) as told:
        asyncio.run(asked())
    assert told.value.status == status


def test_outside_of_a_request_nothing_is_heeded() -> None:
    heed()
    with heeded(Waiting(time.monotonic(), 60)):
        heed()
    gone = Waiting(time.monotonic(), 60)
    gone.leave()
    with heeded(gone), pytest.raises(WireError):
        heed()
    heed()


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (says(pictured(DATA)), False),
        (says(pictured("https://images.test/a.png")), True),
        (says(pictured("HTTP://images.test/a.png")), True),
        (says([*pictured(DATA), *pictured("http://images.test/a.png")]), True),
        ({"input": pictured("http://images.test/a.png")}, True),
        ({"input": pictured(DATA)}, False),
        ({"input": "http://images.test/a.png"}, False),
        ({"messages": [1, {"content": [1, {"image_url": 1}, {"image_url": {"url": 1}}]}, {"content": "x"}, {}]}, False),
        ({"messages": "x", "input": 1}, False),
        ([], False),
    ],
)
def test_a_request_that_names_an_address_is_known_before_it_is_checked(body: object, found: bool) -> None:
    assert has_address(body, 100) is found


def test_no_more_is_looked_at_than_may_be_sent() -> None:
    far = says(pictured("http://images.test/a.png", 1))
    assert has_address({"messages": [{"content": "x"}] * 5 + far["messages"]}, 5) is False  # type: ignore[operator]
    assert has_address({"input": [{"type": "text"}] * 5 + pictured("http://images.test/a.png")}, 5) is False
