"""Replicas: each process has its engine and its canary, and the wire is that of one server. Ray Serve is compared by its source."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.request import Request, urlopen

import pytest
import ray

from sightguard.errors import CanaryFailed, MissingExtra, ModelError, UsageError
from sightguard.serve import on_ray
from sightguard.serve.app import make_app
from sightguard.serve.listen import bound, serve
from sightguard.serve.on_ray import Replica, builder, serve_on_ray
from sightguard.serve.settings import Settings
from tests.conftest import ROOT
from tests.serve.replica import Listening, Make

ASKED = {"model": "echo", "messages": [{"role": "user", "content": "who"}]}


def ask(port: int, **more: Any) -> tuple[dict[str, str], bytes]:
    body = json.dumps({**ASKED, **more}).encode()
    request = Request(f"http://127.0.0.1:{port}/v1/chat/completions", body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=30) as told:
        return {name.lower(): value for name, value in told.headers.items()}, told.read()


@pytest.fixture
def cluster() -> Iterator[None]:
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=on_ray.OBJECTS,
             runtime_env={"env_vars": {"PYTHONPATH": paths}})  # fmt: skip
    yield
    ray.shutdown()


@pytest.mark.filterwarnings("ignore")  # of Ray's own
@pytest.mark.usefixtures("cluster")
def test_replicas_have_engines_of_their_own_and_answer_as_one_server_does(tmp_path: Path) -> None:
    actor = ray.remote(num_cpus=1)(Listening)
    replicas = [actor.remote(Make(tmp_path)) for _ in range(2)]
    ports = ray.get([one.port.remote() for one in replicas], timeout=60)
    here = bound("127.0.0.1", 0)
    threading.Thread(target=serve, args=(make_app(Make(tmp_path)()), here), daemon=True).start()
    wholes, streams = [], []
    for port in (*ports, here.getsockname()[1]):
        headers, whole = ask(port)
        told = json.loads(whole)
        wholes.append(
            (told["choices"][0]["message"].pop("content"), headers["x-sightguard"], told["choices"], told["sightguard"])
        )
        headers, stream = ask(port, stream=True)
        events = [json.loads(line[6:]) for line in stream.decode().splitlines() if line.startswith("data: {")]
        streams.append((headers["content-type"], len(events), events[0]["sightguard"]))
    assert len({content for content, *_ in wholes}) == 3
    assert {content.split()[1] for content, *_ in wholes} == {path.name for path in tmp_path.iterdir()}
    assert wholes[0][1:] == wholes[1][1:] == wholes[2][1:]
    assert streams[0] == streams[1] == streams[2]
    # a canary that fails keeps its replica from starting
    with pytest.raises(ray.exceptions.ActorDiedError, match="CanaryFailed: the guard does nothing"):
        ray.get(actor.options(num_cpus=0).remote(Make(tmp_path, passes=False)).port.remote(), timeout=60)


class FakeServe(ModuleType):
    """Ray Serve as far as it is called here; it notes each call, and builds one replica."""

    def __init__(self, fails: str = "") -> None:
        super().__init__("ray.serve")
        self.calls: dict[str, dict[str, Any]] = {}
        self.fails = fails
        self.replica: Any = None

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

    def shutdown(self) -> None:
        self.calls["shutdown"] = {}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeServe:
    found = FakeServe()
    monkeypatch.setitem(sys.modules, "ray.serve", found)
    monkeypatch.setattr(ray, "serve", found, raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
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
    ready: list[bool] = []
    settings = Settings(host="127.0.0.1", port=8123, queue=7)
    serve_on_ray(Make(tmp_path), settings, replicas=2, batch=4, gpus=1, ready=lambda: ready.append(True))
    for function in ("start", "deployment", "run"):
        assert set(fake.calls[function]) <= parameters(function), function
    assert "app" in parameters("ingress")
    assert fake.calls["start"]["http_options"] == {"host": "127.0.0.1", "port": 8123}
    told = fake.calls["deployment"]
    assert (told["num_replicas"], told["ray_actor_options"]["num_gpus"]) == (2, 1)
    assert told["max_ongoing_requests"] >= settings.queue + 4  # or its queue is never full, and no batch either
    assert ready == [True]
    assert "shutdown" in fake.calls
    assert list(tmp_path.iterdir())  # the replica asked its canary
    fake.replica.check_health()
    fake.replica.app.state.service.queue.close()
    with pytest.raises(RuntimeError, match="has ended"):
        fake.replica.check_health()


@pytest.mark.usefixtures("sigterm")
def test_it_serves_until_it_is_told_to_end(fake: FakeServe, tmp_path: Path) -> None:
    settings = Settings()
    serve_on_ray(Make(tmp_path), settings, replicas=1, batch=4, ready=lambda: threading.Timer(0.3, end_soon).start())
    fake.replica.app.state.service.queue.close()
    assert "shutdown" in fake.calls


def test_replicas_that_do_not_start_end_it_and_say_why(fake: FakeServe, tmp_path: Path) -> None:
    fake.fails = "Deploying application failed: the guard does nothing"
    with pytest.raises(ModelError, match="the guard does nothing"):
        serve_on_ray(Make(tmp_path), Settings(), replicas=1, batch=4)
    assert "shutdown" in fake.calls


def test_what_cannot_be_meant_is_refused(fake: FakeServe, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 1 replica; got 0"):
        serve_on_ray(Make(tmp_path), Settings(), replicas=0, batch=4)
    with pytest.raises(UsageError, match="loopback"):
        serve_on_ray(Make(tmp_path), Settings(compare=True), replicas=1, batch=4)
    assert fake.calls == {}


def test_without_ray_serve_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray.serve", None)
    monkeypatch.delattr(ray, "serve", raising=False)
    with pytest.raises(MissingExtra, match=r"sightguard\[scale\]"):
        serve_on_ray(Make(tmp_path), Settings(), replicas=1, batch=4)


def test_a_builder_raises_what_its_canary_raises(tmp_path: Path) -> None:
    with pytest.raises(CanaryFailed):
        builder(Make(tmp_path, passes=False))()
    assert Replica.__init__ is object.__init__  # or Ray Serve would have to be told how to make one
