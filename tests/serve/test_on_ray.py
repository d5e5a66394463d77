"""How Ray Serve is called, by a stand-in for it; `test_ray_serve` runs the real one."""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import ray
from starlette.types import Message, Receive, Scope, Send

from sightguard.cli.app import run
from sightguard.engine.make import Make
from sightguard.errors import CanaryFailed, MissingExtra, ModelError, UsageError
from sightguard.serve import on_ray
from sightguard.serve.keys import Keys
from sightguard.serve.listen import bound
from sightguard.serve.on_ray import serve_on_ray
from sightguard.serve.replica import OneId, Replica, builder, middlewares
from sightguard.serve.settings import Settings
from tests.serve.replica import pretended


def stated(**applications: Any) -> SimpleNamespace:
    return SimpleNamespace(proxies={}, applications=applications)


class FakeServe(ModuleType):
    """Ray Serve as far as it is called here; it notes each call, and builds one replica."""

    def __init__(self, fails: str = "") -> None:
        super().__init__("ray.serve")
        self.calls: dict[str, dict[str, Any]] = {}
        self.fails = fails
        self.replica: Any = None
        self.statuses = [stated()]
        """One after the other; the last stays."""

    def start(self, **options: Any) -> None:
        self.calls["start"] = options

    def ingress(self, build: Any) -> Any:
        def decorated(cls: type) -> type:
            def made(one: Any) -> None:
                one.app = build()

            return type("Wrapped", (cls,), {"__init__": made})

        return decorated

    def deployment(self, cls: Any, **options: Any) -> Any:
        self.calls["deployment"] = options

        class Bound:
            @staticmethod
            def bind() -> Any:
                return cls

        return Bound

    def run(self, cls: Any, **options: Any) -> None:
        self.calls["run"] = options
        if self.fails:
            raise RuntimeError(self.fails)
        self.replica = cls()

    def status(self) -> Any:
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]

    def shutdown(self) -> None:
        self.calls["shutdown"] = {}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeServe:
    found = FakeServe()
    monkeypatch.setitem(sys.modules, "ray.serve", found)
    monkeypatch.setattr(ray, "serve", found, raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0, "GPU": 2.0})
    return found


def parameters(function: str) -> set[str]:
    """Names that a function of the installed Ray Serve takes, read from its source, which may lack packages to be imported."""
    spec = importlib.util.find_spec("ray")
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse((Path(spec.origin).parent / "serve" / "api.py").read_text())
    (found,) = [one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == function]
    return {one.arg for one in (*found.args.args, *found.args.kwonlyargs)}


def end_soon() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def sigterm() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("sigterm")
def test_what_is_asked_of_ray_serve_exists_there(
    fake: FakeServe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "_wait", lambda: None)
    ready: list[str] = []
    settings = Settings(host="127.0.0.1", port=8123, queue=7)
    serve_on_ray(pretended(tmp_path), settings, replicas=2, batch=4, gpus=1, ready=ready.append)
    for function in ("start", "deployment", "run"):
        assert set(fake.calls[function]) <= parameters(function), function
    assert "app" in parameters("ingress")
    assert fake.calls["start"]["http_options"] == {"host": "127.0.0.1", "port": 8123}
    told = fake.calls["deployment"]
    assert (told["num_replicas"], told["ray_actor_options"]["num_gpus"]) == (2, 1)
    assert told["max_ongoing_requests"] >= settings.queue + 4  # or its queue is never full, and no batch either
    assert ready == ["http://127.0.0.1:8123"]
    assert "shutdown" in fake.calls
    assert list(tmp_path.iterdir())  # the replica asked its canary
    fake.replica.check_health()
    metrics = fake.replica.app.state.service.metrics.exposition().decode()
    assert f':{os.getpid()}"}} 1.0' in metrics  # or nobody knew whose counts the proxy handed out
    fake.replica.app.state.service.queue.close()
    with pytest.raises(RuntimeError, match="has ended"):
        fake.replica.check_health()


@pytest.mark.usefixtures("sigterm")
def test_it_serves_until_it_is_told_to_end(fake: FakeServe, tmp_path: Path) -> None:
    settings = Settings(port=0)
    serve_on_ray(
        pretended(tmp_path), settings, replicas=1, batch=4, ready=lambda where: threading.Timer(0.3, end_soon).start()
    )
    fake.replica.app.state.service.queue.close()
    assert "shutdown" in fake.calls


@pytest.mark.usefixtures("sigterm")
def test_replicas_that_do_not_start_end_it_and_say_why(fake: FakeServe, tmp_path: Path) -> None:
    fake.fails = "Deploying application failed: the guard does nothing"
    with pytest.raises(ModelError, match="the guard does nothing"):
        serve_on_ray(pretended(tmp_path), Settings(port=0), replicas=1, batch=4)
    assert "shutdown" in fake.calls


@pytest.mark.usefixtures("sigterm")
def test_the_reason_is_the_replicas_own(fake: FakeServe, tmp_path: Path) -> None:
    fake.fails = "Failed to update the deployments"
    told = "It failed 2 times. Error:\nray::Replica()\nRuntimeError: Traceback:\n  File\nours.errors.CanaryFailed: it does: nothing\nat all"
    fake.statuses.append(stated(sightguard=SimpleNamespace(deployments={"sightguard": SimpleNamespace(message=told)})))
    with pytest.raises(ModelError, match="did not start: CanaryFailed: it does: nothing at all$"):
        serve_on_ray(pretended(tmp_path), Settings(port=0), replicas=1, batch=4)


def test_what_cannot_be_meant_is_refused(fake: FakeServe, tmp_path: Path) -> None:
    make = pretended(tmp_path)
    with pytest.raises(UsageError, match="at least 1 replica; got 0"):
        serve_on_ray(make, Settings(port=0), replicas=0, batch=4)
    with pytest.raises(UsageError, match="loopback"):
        serve_on_ray(make, Settings(compare=True), replicas=1, batch=4)
    with pytest.raises(UsageError, match="name the port"):
        serve_on_ray(make, Settings(port=0), replicas=1, batch=4, address="127.0.0.1:6379")
    with bound("127.0.0.1", 0) as taken, pytest.raises(UsageError, match="cannot listen"):
        serve_on_ray(make, Settings(port=taken.getsockname()[1]), replicas=1, batch=4)
    with pytest.raises(ModelError, match="3 replicas need 3 CPUs, and this machine has 2"):
        serve_on_ray(make, Settings(port=0), replicas=3, batch=4)
    with pytest.raises(ModelError, match="2 replicas need 4 GPUs, and this machine has 2"):
        serve_on_ray(make, Settings(port=0), replicas=2, batch=4, gpus=2)
    assert fake.calls == {}


def test_what_a_cluster_serves_already_is_left_alone(fake: FakeServe, tmp_path: Path) -> None:
    fake.statuses[0] = stated(another=None)
    with pytest.raises(UsageError, match="would end with this server"):
        serve_on_ray(pretended(tmp_path), Settings(), replicas=1, batch=4, address="127.0.0.1:6379")
    assert fake.calls == {}


def test_a_ray_that_does_not_come_up_is_said(fake: FakeServe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**options: Any) -> None:
        raise Exception(f"timed out at {options['address']}")  # as Ray itself does

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(ModelError, match="cannot be reached at 'there:1': Exception: timed out at there:1"):
        serve_on_ray(pretended(tmp_path), Settings(), replicas=1, batch=4, address="there:1")
    assert fake.calls == {}


def test_an_answer_keeps_the_id_that_the_log_has() -> None:
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"x-request-id", b"ours"), (b"vary", b"a"), (b"vary", b"b"), (b"X-Request-ID", b"another")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"told"})

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    assert [repr(one) for one in middlewares()] == ["Middleware(OneId)"]
    asyncio.run(OneId(app)({"type": "http"}, receive, send))
    assert sent[0]["headers"] == [(b"x-request-id", b"ours"), (b"vary", b"a"), (b"vary", b"b")]
    assert sent[1]["body"] == b"told"


def test_without_ray_serve_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray.serve", None)
    monkeypatch.delattr(ray, "serve", raising=False)
    with pytest.raises(MissingExtra, match=r"sightguard\[scale\]"):
        serve_on_ray(pretended(tmp_path), Settings(port=0), replicas=1, batch=4)


def test_a_builder_raises_what_its_canary_raises(tmp_path: Path) -> None:
    (tmp_path / "fails").touch()
    with pytest.raises(CanaryFailed):
        builder(pretended(tmp_path))()
    assert Replica.__init__ is object.__init__  # or Ray Serve would have to be told how to make one


@pytest.mark.parametrize("more", [["--device", "cuda:1"], ["--playground-compare"]])
def test_the_command_refuses_what_replicas_cannot_have(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "pocket", "--replicas", "2", "--port", "0", *more]) == 2
    assert {"--device": "is given its GPU by Ray", "--playground-compare": "loopback"}[
        more[0]
    ] in capsys.readouterr().err


def test_what_makes_a_replica_can_be_sent_to_it(tmp_path: Path) -> None:
    keys = Keys.of(["one-of-the-keys"])
    made = Make(model="pocket", settings=Settings(queue=3), keys=keys, audit=tmp_path / "log", load={"device": "cpu"})
    sent = ray.cloudpickle.dumps(
        builder(made)
    )  # that it is a builder again there is shown by tests/serve/test_ray_serve.py
    assert len(sent) < 2**16  # no model in it
    assert b"one-of-the-keys" not in sent
