"""Servers that really run: of a fake engine in a thread, and of the embedded model as its own process."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightguard.serve.app import make_app
from sightguard.serve.job import Engine
from sightguard.serve.keys import Keys
from sightguard.serve.listen import bound
from sightguard.serve.listen import server as server_of
from sightguard.serve.log import AuditLog
from sightguard.serve.read_log import read_log
from sightguard.serve.service import Service
from sightguard.serve.settings import Settings

CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    data: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.data)

    @property
    def code(self) -> str | None:
        """The code of an error."""
        found: str | None = self.json["error"]["code"]
        return found


def ask(
    port: int, body: object = None, path: str = CHAT, *, data: Any = None, seconds: float = 60, **headers: str
) -> Reply:
    """Send a request by a client that knows nothing of the server, and return the reply."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        sent = data if data is not None else None if body is None else json.dumps(body).encode()
        told = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET" if sent is None else "POST", path, sent, told)
        answer = connection.getresponse()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def says(content: object, model: str = "fake", **more: object) -> dict[str, object]:
    """The body of a chat with one turn."""
    return {"model": model, "messages": [{"role": "user", "content": content}], **more}


def until(true: Callable[[], bool], seconds: float = 10) -> bool:
    """Wait until something is so; return whether it became so."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@dataclass(frozen=True)
class Server:
    """A server in this process."""

    port: int
    service: Service
    log: Path
    stop: Callable[[], None]

    def lines(self) -> list[Mapping[str, Any]]:
        return list(read_log(self.log)) if self.log.is_file() else []

    def outcomes(self) -> list[str]:
        return [line["outcome"] for line in self.lines()]


@contextmanager
def running(engine: Engine, folder: Path, keys: Keys | None = None, **settings: Any) -> Iterator[Server]:
    """Serve an engine in a thread."""
    at = bound("127.0.0.1", 0)
    port = at.getsockname()[1]
    log = folder / "audit.jsonl"
    service = Service(engine, Settings(**{"wait": 0.005, **settings}), keys, AuditLog(log))
    ready = threading.Event()
    server = server_of(make_app(service), ready=ready.set, stopping=service.queue.stop)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [at]})

    def stop() -> None:
        server.should_exit = True

    thread.start()
    assert ready.wait(30)
    try:
        yield Server(port, service, log, stop)
    finally:
        stop()
        thread.join(60)
        assert not thread.is_alive()


@dataclass(frozen=True)
class Process:
    """A server as its own process."""

    port: int
    process: subprocess.Popen[str]

    @property
    def memory(self) -> int:
        """Bytes that it holds."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def started(*words: str, model: str = "pocket") -> Iterator[Process]:
    """Start `sightguard serve`, wait until it takes requests, and end it."""
    command = [sys.executable, "-m", "sightguard", "serve", model, "--port", "0", *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    told: list[str] = []
    reader: threading.Thread | None = None
    try:
        for line in process.stderr:
            told.append(line)
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/v1", line):
                break
        else:
            raise AssertionError(f"the server ended: {''.join(told)}")
        reader = threading.Thread(target=process.stderr.read)  # a full pipe would stop the server
        reader.start()
        yield Process(int(found[1]), process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(60)
        if reader is not None:
            reader.join()
        process.stderr.close()
