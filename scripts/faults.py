"""What a server survives: strange requests, clients that leave or dawdle, engines that fail, kills. Each is done to a server that runs.

    python -m scripts.faults [--out results/faults.json]

Ends with an error where something came out otherwise than expected, or a server no longer answered afterwards.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any

from scripts.provenance import provenance
from sightguard.artifacts import write_json
from sightguard.engine.local import LocalEngine
from sightguard.engine.open import open_engine
from sightguard.engine.rows import Row
from sightguard.engine.watched import Notes
from sightguard.models.vlm import VLM
from sightguard.pocket import world
from sightguard.serve.read_log import read_log
from sightguard.steering.vlm_guard import VlmGuard
from tests.serve.servers import CHAT, Process, Reply, Server, ask, running, says, started, until
from tests.serve.strange import STRANGE

Found = dict[str, Any]
HELLO = says("hello", "pocket", max_tokens=8)
LONG = says("hello", "pocket", max_tokens=500, temperature=2)


def told(fault: str, expected: str, came: str, held: bool) -> Found:
    return {"fault": fault, "expected": expected, "came": came, "held": held}


def came_of(reply: Reply) -> str:
    if reply.status == 200:
        choice = reply.json["choices"][0]
        return f"200, {choice['finish_reason']}"
    return f"{reply.status} {reply.code}"


def opened(port: int, body: object, promised: int | None = None) -> socket.socket:
    """Send a chat request by hand, and leave the connection open."""
    data = json.dumps(body).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {promised or len(data)}\r\n\r\n"
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.sendall(head.encode() + data)
    return connection


def strange(server: Process) -> Iterator[Found]:
    for one in STRANGE:
        reply = ask(server.port, path=one.path, data=one.data())
        code = "an answer" if one.status == 200 else str(one.code or reply.code)
        came = came_of(reply)
        held = reply.status == one.status and (one.code is None or reply.code == one.code)
        yield told(one.sent, f"{one.status} {code}", came, held)


def clients(server: Process, log: Path) -> Iterator[Found]:
    with ThreadPoolExecutor(64) as pool:
        found = Counter(reply.status for reply in pool.map(lambda _: ask(server.port, HELLO), range(64)))
    came = ", ".join(f"{count} × {status}" for status, count in found.items())
    yield told("64 clients at once", "64 × 200", came, found == {200: 64})
    stream = opened(server.port, {**LONG, "stream": True})
    got = b""
    while b"data: " not in got and (more := stream.recv(4096)):
        got += more
    stream.close()
    yield left(log, "a client leaves in the middle of a stream", ["streaming", "cancelled"])
    opened(server.port, LONG).close()
    yield left(log, "a client leaves before there is an answer", ["cancelled"])
    opened(server.port, LONG, promised=100_000).close()
    yield left(log, "a client leaves while it sends", ["cancelled"])
    with ExitStack() as slow:
        for number in range(100):
            one = socket.create_connection(("127.0.0.1", server.port))
            slow.enter_context(one)
            one.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nX-Slow: ")
            if number < 50:
                slow.enter_context(opened(server.port, HELLO, promised=100_000))
        began = time.monotonic()
        reply = ask(server.port, HELLO)
        seconds = time.monotonic() - began
    held = reply.status == 200 and seconds < 5
    yield told(
        "150 clients send their heads or bodies byte by byte", "another client is answered", came_of(reply), held
    )


def left(log: Path, fault: str, outcomes: Sequence[str]) -> Found:
    def last() -> list[str]:
        lines = list(read_log(log))
        return [line["outcome"] for line in lines if line["id"] == lines[-1]["id"]]

    held = until(lambda: last() == outcomes, 10)
    return told(fault, f"the log says {', '.join(outcomes)}", ", ".join(last()), held)


def killed(folder: Path) -> Iterator[Found]:
    log = folder / "killed.jsonl"
    with ThreadPoolExecutor(16) as pool, started("--audit-log", str(log)) as server:
        asked = [pool.submit(quietly, server.port, {**LONG, "stream": True}) for _ in range(16)]
        until(lambda: log.is_file() and log.read_bytes().count(b"\n") >= 8)
        server.process.send_signal(signal.SIGKILL)
        for one in asked:
            one.result()
    with started("--audit-log", str(log)) as server:
        after = ask(server.port, HELLO)
        torn: list[str] = []
        lines = list(read_log(log, broken=torn.append))
        came = f"{len(torn)} torn of {len(lines) + len(torn)} lines, then {came_of(after)}"
        yield told(
            "SIGKILL among 16 streams, and a new start", "no torn line; the new one answers", came,
            not torn and after.status == 200,
        )  # fmt: skip


def ended(folder: Path) -> Iterator[Found]:
    with (
        ThreadPoolExecutor(32) as pool,
        started("--audit-log", str(folder / "ended.jsonl"), "--batch", "2") as server,
    ):
        asked = [pool.submit(quietly, server.port, LONG) for _ in range(32)]
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        replies = [one.result() for one in asked]
        server.process.wait(60)
    found = Counter("no reply" if reply is None else came_of(reply).split(",")[0] for reply in replies)
    came = ", ".join(f"{count} × {what}" for what, count in sorted(found.items()))
    held = set(found) <= {"200", "503 closing"} and found["200"] > 0
    yield told("SIGTERM among 32 requests, two at a time", "those that run end, others get 503", came, held)


def quietly(port: int, body: object) -> Reply | None:
    with suppress(OSError, HTTPException):
        return ask(port, body)
    return None


def starts() -> Iterator[Found]:
    """Starts that end before a model is loaded."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        yield refused("the port is taken", 2, "cannot listen", "pocket", "--port", str(port))
    yield refused("no guard at all", 2, "without a guard", "a-model-of-mine")


def canaries(folder: Path) -> Iterator[Found]:
    """Guards that do nothing."""
    vlm = VLM.load("pocket")
    guard = VlmGuard.fit(vlm, world.anchors(40), layers=[4, 5], threshold="midpoint")
    never = dict.fromkeys(guard.layers, (1000000000.0, 1000000000.0))
    kinds = {
        "a guard of strength 0": replace(guard, strength=0.0),
        "a guard whose gate never opens": replace(guard, threshold="anchored", thresholds=never),
    }
    for number, (fault, broken) in enumerate(kinds.items()):
        place = folder / f"guard{number}"
        broken.save_pretrained(place)
        yield refused(fault, 1, "The server does not start", "pocket", "--guard", str(place))


def refused(fault: str, status: int, words: str, *arguments: str) -> Found:
    command = [sys.executable, "-m", "sightguard", "serve", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    said = " ".join(done.stderr.split())
    held = done.returncode == status and words in said and (status == 1 or "load the model" not in said)
    why = said[said.find("error: ") + 7 :]
    return told(fault, f"exit status {status}, and why", f"exit status {done.returncode}: {short(why)}", held)


def short(text: str) -> str:
    return text if len(text) <= 90 else f"{text[:89]}…"


@dataclass
class Failing(LocalEngine):
    """The embedded model, with faults that a word in a request calls up."""

    def _write(self, rows: Sequence[Row], notes: Notes) -> None:
        words = " ".join(row.job.sample.text for row in rows)
        if "slow" in words:
            time.sleep(1)
        if "raise" in words:
            raise RuntimeError("a fault of the guard's own")
        if "memory" in words or ("crowd" in words and len(rows) > 4):
            raise MemoryError
        super()._write(rows, notes)


def engine_faults(folder: Path) -> Iterator[Found]:
    made = open_engine(VLM.load("pocket"), "pocket", batch=8)
    engine = Failing(made.guarded, made.name, made.guard, made.batch)

    def asks(word: str, **more: object) -> Reply:
        return ask(server.port, says(word, "pocket", max_tokens=8, **more))

    with running(engine, folder / "engine", wait=0.2, queue=16) as server, ThreadPoolExecutor(32) as pool:
        reply = asks("raise")
        yield after(server, told("the guard raises", "a refusal", came_of(reply), "content_filter" in came_of(reply)))
        reply = asks("memory")
        wanted = "503 out_of_memory"
        yield after(server, told("no memory for one request", wanted, came_of(reply), came_of(reply) == wanted))
        crowd = Counter(reply.status for reply in pool.map(asks, ["crowd"] * 8))
        expected = "split, and answered"
        came = ", ".join(f"{count} × {status}" for status, count in crowd.items())
        yield after(server, told("no memory for eight together", expected, came, crowd == {200: 8}))
        mixed = list(pool.map(asks, ["raise", "hello", "hello", "hello"]))
        came = ", ".join(came_of(reply) for reply in mixed)
        held = "content_filter" in came_of(mixed[0]) and all("content_filter" not in came_of(one) for one in mixed[1:])
        yield after(server, told("one of four together makes the guard raise", "that one is refused", came, held))
        many = Counter(came_of(reply).split(",")[0] for reply in pool.map(asks, ["slow"] * 32))
        came = ", ".join(f"{count} × {what}" for what, count in sorted(many.items()))
        held = set(many) == {"200", "429 queue_full"}
        yield after(server, told("32 at once where 16 may wait", "200, or 429 with Retry-After", came, held))
    with running(engine, folder / "late", deadline=0.5) as server:
        reply = asks("slow")
        wanted = "504 deadline_exceeded"
        yield after(
            server, told("an answer takes longer than the deadline", wanted, came_of(reply), came_of(reply) == wanted)
        )


def after(server: Server, found: Found) -> Found:
    return {**found, "served": ask(server.port, HELLO).status == 200}


def survived(server: Process, faults: Iterator[Found]) -> Iterator[Found]:
    """Add what became of the server after each."""
    before = server.memory
    for found in faults:
        served = ask(server.port, HELLO).status == 200 and server.process.poll() is None
        now = server.memory
        yield {**found, "served": served, "memory": [round(before / 2**20), round(now / 2**20)]}
        before = now


def all_faults(folder: Path) -> dict[str, Callable[[], list[Found]]]:
    def on_one_server() -> list[Found]:
        log = folder / "audit.jsonl"
        with started("--audit-log", str(log)) as server:
            return [*survived(server, strange(server)), *survived(server, clients(server, log))]

    return {
        "one server": on_one_server,
        "engine": lambda: list(engine_faults(folder)),
        "process": lambda: [*killed(folder), *ended(folder), *starts(), *canaries(folder)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/faults.json"))
    given = parser.parse_args()
    faults: list[Found] = []
    with tempfile.TemporaryDirectory() as place:
        for name in ("engine", "late"):
            (Path(place) / name).mkdir()
        for group, found in all_faults(Path(place)).items():
            faults += [{"group": group, **one} for one in found()]
            print(group, len(faults), flush=True)
    write_json(given.out, {"schema": 1, "faults": faults, "provenance": provenance()})
    wrong = [one for one in faults if not (one["held"] and one.get("served", True))]
    for one in wrong:
        print(one, file=sys.stderr)
    if wrong:
        raise SystemExit(f"{len(wrong)} of {len(faults)} came out otherwise than expected")


if __name__ == "__main__":
    main()
