"""Replicas by the real Ray Serve, on a Ray of this machine, started by the command and asked by OpenAI's client."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import openai
import pytest

from tests.cli.command import hears_ctrl_c
from tests.conftest import ROOT

KEY = "one-of-the-keys"


@dataclass
class Started:
    """The command in a process of its own; every process that it starts carries its mark."""

    process: subprocess.Popen[str]
    mark: str
    said: list[str] = field(default_factory=list)

    def address(self) -> str:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if found := re.search(r"(http://127\.0\.0\.1:\d+/v1)$", line):
                return found[1]
        pytest.fail("".join(self.said))

    def end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        return self.process.wait(60)

    def processes(self) -> list[int]:
        """Return the processes that are left of it."""
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if self.mark.encode() in path.read_bytes():
                    found.append(int(path.parent.name))
            except OSError:  # it ended meanwhile
                continue
        return found


@contextmanager
def started(module: str, *arguments: str) -> Iterator[Started]:
    mark = uuid4().hex
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": paths, "SIGHTGUARD_TEST": mark, "RAY_ADDRESS": "127.0.0.1:1"}
    command = [sys.executable, "-m", module, "serve", *arguments, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment,
                          cwd=ROOT, preexec_fn=hears_ctrl_c) as process:  # fmt: skip
        server = Started(process, mark)
        try:
            yield server
        finally:
            for left in server.processes():
                os.kill(left, signal.SIGKILL)


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def awake(folder: Path) -> set[str]:
    """Return the processes that asked their canary, each of which leaves its number in the guard's folder."""
    return {path.name for path in folder.iterdir() if path.name.isdigit()}


def who(client: openai.OpenAI) -> str:
    answer = client.chat.completions.create(model="echo", messages=[{"role": "user", "content": "who"}])
    return (answer.choices[0].message.content or "").split()[1]


def test_two_replicas_answer_as_one_server_and_one_that_dies_comes_back(tmp_path: Path) -> None:
    keys, log, folder = tmp_path / "keys", tmp_path / "audit.jsonl", tmp_path / "guard"
    folder.mkdir()
    (folder / "guard.json").write_text("{}")
    keys.write_text(KEY)
    keys.chmod(0o600)
    more = ["--guard", str(folder), "--replicas", "2", "--api-keys", str(keys), "--audit-log", str(log)]
    with started("tests.serve.ray_child", "echo", *more) as server:
        client = openai.OpenAI(base_url=server.address(), api_key=KEY, max_retries=0)
        first = awake(folder)
        assert len(first) == 2  # each asked its canary

        # whole: the proof in header and body, one id in header, body and log
        raw = client.chat.completions.with_raw_response.create(
            model="echo", messages=[{"role": "user", "content": "who"}]
        )
        told = raw.parse()
        proof = json.loads(raw.headers["x-sightguard"])
        assert proof == (told.model_extra or {})["sightguard"]
        assert proof["parts"] == {"received": {"text": 1, "image": 0}, "inspected": {"text": 1, "image": 0}}
        assert raw.headers["x-request-id"] == told.id == json.loads(log.read_text().splitlines()[-1])["id"]
        until(lambda: {who(client) for _ in range(4)} == first)

        # a stream arrives while it is written, and ends at the engine when its client leaves
        with client.chat.completions.create(
            model="echo", messages=[{"role": "user", "content": "slow"}], stream=True
        ) as stream:
            assert "x-sightguard" in stream.response.headers
            words = [next(stream).choices[0].delta.content for _ in range(5)]
        assert (words[1], words[4]) == ("process", " slow")
        until((folder / "left").exists, 10)

        # errors are the server's own
        with pytest.raises(openai.NotFoundError) as unknown:
            client.chat.completions.create(model="another", messages=[{"role": "user", "content": "who"}])
        assert unknown.value.code == "model_not_found"
        with pytest.raises(openai.AuthenticationError):
            client.with_options(api_key="none").models.list()
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model="echo", messages=[], extra_body={"guard": "off"})

        # one dies: the other answers, and one that passed its canary takes the place
        dead = who(client)
        os.kill(int(dead), signal.SIGKILL)
        answered = [who(client) for _ in range(20)]
        assert set(answered) <= awake(folder) - {dead}
        until(lambda: who(client) not in first)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        ended = [line["id"] for line in lines if line["outcome"] != "streaming"]
        assert len(set(ended)) == len(ended)  # all wrote into one log, and no line is torn or twice
        assert server.end(signal.SIGINT) == 130
        assert server.processes() == []


@pytest.mark.slow
def test_a_canary_that_fails_ends_the_command_and_is_told(tmp_path: Path) -> None:
    (tmp_path / "guard.json").write_text("{}")
    (tmp_path / "fails").touch()
    with started("tests.serve.ray_child", "echo", "--guard", str(tmp_path), "--replicas", "2") as server:
        _, said = server.process.communicate(timeout=120)
        assert server.process.returncode == 1
        assert (
            "error: the replicas on Ray did not start: CanaryFailed: the guard does nothing: it is a stand-in" in said
        )
        assert server.processes() == []


@pytest.mark.slow
def test_the_embedded_model_answers_from_two_replicas(tmp_path: Path) -> None:
    with started("sightguard", "pocket", "--replicas", "2", "--batch", "4") as server:
        client = openai.OpenAI(base_url=server.address(), api_key="none", max_retries=0)
        asked = [{"role": "user", "content": "what can i do to share the bread ?"}]
        answers = [client.chat.completions.create(model="pocket", messages=asked, temperature=0) for _ in range(6)]  # type: ignore[arg-type]
        assert len({answer.choices[0].message.content for answer in answers}) == 1
        assert {(answer.model_extra or {})["sightguard"]["rule"] for answer in answers} == {"no picture"}
        assert server.end(signal.SIGTERM) == 0
        assert server.processes() == []
