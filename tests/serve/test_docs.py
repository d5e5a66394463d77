"""The pages about the server are true: every curl is run against a server, and every answer that a page shows below one is compared."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from sightguard.cli.app import app
from sightguard.pocket import world
from tests.conftest import ROOT

PAGES = sorted((ROOT / "docs").glob("serve*.md"))
ADDRESS = "http://127.0.0.1:8000"
EXAMPLE = re.compile(r"```sh\n(?P<sh>.*?)```(?:\s*```(?P<kind>json|text)\n(?P<answer>.*?)```)?", re.DOTALL)
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
STATUS = re.compile(r"# status (\d+)")
EXAMPLES = [
    pytest.param(found["sh"], found["kind"], found["answer"], id=f"{page.name}:{number}")
    for page in PAGES
    for number, found in enumerate(EXAMPLE.finditer(page.read_text(encoding="utf-8")), start=1)
    if "curl " in found["sh"]
]
SNIPPETS = [
    pytest.param(code, id=f"{page.name}:{number}")
    for page in PAGES
    for number, code in enumerate(PYTHON.findall(page.read_text(encoding="utf-8")), start=1)
    if ADDRESS in code
]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server that was started as the page says."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "sightguard", "serve", "pocket", "--port", "0", "--no-playground"]
    with (
        tempfile.TemporaryFile("w+") as told,
        subprocess.Popen(command, stderr=subprocess.PIPE, stdout=told, text=True, env=environment) as process,
    ):
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if found := re.search(r"(http://127\.0\.0\.1:\d+)/v1", line):
                yield found[1]
                break
        else:
            pytest.fail("".join(said))
        process.terminate()
        process.stderr.close()
        process.wait(60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the picture of which the page says what it shows."""
    shown = next(
        s for s in world.settings("validation", 60)["benign_image"] if s.meta["shown"] == "shape:yellow circle"
    )
    (tmp_path / "picture.png").write_bytes(shown.images[0].read())
    return tmp_path


@pytest.mark.parametrize(("sh", "kind", "answer"), EXAMPLES)
def test_a_curl_does_what_its_page_says(
    sh: str, kind: str | None, answer: str | None, server: str, folder: Path
) -> None:
    assert sh.count("curl ") == sh.count(f"{ADDRESS}/") == 1
    status = found[1] if (found := STATUS.search(sh)) else "200"
    script = f"curl() {{ command curl -sS -w '%{{stderr}}%{{http_code}}' \"$@\"; }}\n{sh.replace(ADDRESS, server)}"
    environment = {**os.environ, "SIGHTGUARD_API_KEY": "any", "NO_PROXY": "*"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, status), done.stdout[:500]
    if kind == "json":
        assert differs(json.loads(answer or ""), json.loads(done.stdout)) == []
    elif kind == "text":
        assert missing(answer or "", done.stdout) == []


@pytest.mark.parametrize("code", SNIPPETS)
def test_the_client_of_others_is_told_the_same(
    code: str, server: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        exec(compile(code.replace(ADDRESS, server), "snippet", "exec"), {})
    wanted = [line.partition("  # ")[2] for line in code.splitlines() if line.startswith("print(")]
    assert told.getvalue().splitlines() == wanted


def test_there_are_examples_to_run() -> None:
    assert len(EXAMPLES) >= 8
    assert len(SNIPPETS) >= 1


def test_the_page_has_the_options_of_the_command() -> None:
    page = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8").partition("\n## Options\n")[2]
    rows = dict(re.findall(r"^\| `(--[a-z-]+)` \| ?([^|]*?) ?\|", page, re.MULTILINE))
    command = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    options = {one.opts[0]: one.default for one in command.params if one.opts[0].startswith("--")}
    assert rows == {name: shown(value) for name, value in options.items() if name != "--help"}


def shown(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return "" if default is None else f"`{default}`"


def differs(wanted: Any, got: Any, at: str = "answer") -> list[str]:
    """Say where `got` is not what is wanted; members that are not wanted may be there."""
    if isinstance(wanted, dict) and isinstance(got, dict):
        return [
            line for name, value in wanted.items() for line in differs(value, got.get(name, "nothing"), f"{at}.{name}")
        ]
    if isinstance(wanted, list) and isinstance(got, list) and len(wanted) == len(got):
        return [line for i, pair in enumerate(zip(wanted, got, strict=True)) for line in differs(*pair, f"{at}.{i}")]
    return [] if wanted == got and type(wanted) is type(got) else [f"{at}: wanted {wanted!r}, got {got!r}"]


def missing(wanted: str, got: str) -> list[str]:
    """Return the lines that do not come in this order; "…" stands for anything."""
    lines = iter(got.splitlines())
    patterns = [re.escape(line).replace("…", ".*") for line in wanted.splitlines()]
    return [pattern for pattern in patterns if not any(re.fullmatch(pattern, line) for line in lines)]
