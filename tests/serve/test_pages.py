"""The files of the playground: all of them are served, with headers that forbid the rest, and only where the page was asked for."""

from __future__ import annotations

import json
import re
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import pytest

from sightguard.serve import pages
from sightguard.serve.keys import Keys
from sightguard.serve.log import AuditLog
from sightguard.serve.pages import HEADERS, PAGE, READ, SCRIPTS, STYLE
from sightguard.serve.read_log import read_log
from sightguard.serve.service import Service
from sightguard.serve.settings import Settings
from sightguard.types import Response, Sample, Verdict
from tests.serve.running import Scripted, post, running

FOLDER = files("sightguard.serve").joinpath("playground")
TYPES = {"html": "text/html; charset=utf-8", "js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}


def get(port: int, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)) as got:
            return got.status, dict(got.headers.items()), got.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers.items()), error.read()


def test_every_file_of_the_folder_is_served_as_it_is() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {PAGE, STYLE, *SCRIPTS}
    with running(Service(Scripted(), Settings())) as port:
        for name in (PAGE, STYLE, *SCRIPTS):
            path = "/" if name == PAGE else f"/playground/{name}"
            status, headers, body = get(port, path)
            assert (status, body) == (200, FOLDER.joinpath(name).read_bytes())
            assert {key.lower(): value for key, value in headers.items()}.items() >= {
                key.lower(): value for key, value in HEADERS.items()
            }.items()
            assert headers["content-type"] == TYPES[name.rsplit(".", 1)[1]]
            assert get(port, path, "HEAD")[::2] == (200, b"")
        for path in ("/playground/", "/playground/index.html", "/playground/../app.py", "/playground/%2e%2e/app.py"):
            assert get(port, path)[0] == 404


def test_without_the_page_there_is_none_of_it() -> None:
    with running(Service(Scripted(), Settings(playground=False))) as port:
        for path in ("/", f"/playground/{STYLE}", "/playground/settings.json"):
            assert get(port, path)[0] == 404
        assert post(port, "/playground/outcome", {"text": "x"})[0] == 404


def test_a_page_has_no_script_no_style_and_no_address_of_its_own() -> None:
    html = FOLDER.joinpath(PAGE).read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", html)
    assert all(" src=" in tag for tag in re.findall(r"<script[^>]*>", html))
    for name in (PAGE, STYLE, *SCRIPTS):
        text = FOLDER.joinpath(name).read_text(encoding="utf-8")
        assert not re.search(r"https?:|//\w+\.\w|@import|url\(|innerHTML|outerHTML|insertAdjacentHTML|eval\(", text)
        assert not re.search(r"localStorage|sessionStorage|indexedDB|document\.cookie", text)


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("I'm sorry, but I can't help with that.", "refused"),
        ("It is yellow.", "complied"),
        ("", "broken"),
        ("la " * 40, "broken"),
    ],
)
def test_a_text_is_read_as_the_bench_reads_it(text: str, outcome: str) -> None:
    with running(Service(Scripted(), Settings())) as port:
        status, _, body = post(port, "/playground/outcome", {"text": text})
    assert (status, body) == (200, f'{{"outcome":"{outcome}"}}'.encode())


@pytest.mark.parametrize("body", [b"{", [], {}, {"text": 1}, {"text": "x" * 70_000}])
def test_what_is_no_text_is_refused(body: object) -> None:
    with running(Service(Scripted(), Settings())) as port:
        assert post(port, "/playground/outcome", body)[0] in (400, 413)


OUTCOME = "/playground/outcome"


def test_a_text_is_read_for_who_has_a_key_and_every_such_request_is_logged_and_counted(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    with running(Service(Scripted(), Settings(), Keys.of(["open-sesame"]), AuditLog(log))) as port:
        status, headers, body = post(port, OUTCOME, {"text": "It is yellow."})
        assert (status, json.loads(body)["error"]["type"]) == (401, "invalid_request_error")
        assert headers["content-security-policy"] == HEADERS["Content-Security-Policy"]
        assert post(port, OUTCOME, {"text": "It is yellow."}, Authorization="Bearer open-sesame")[0] == 200
        assert post(port, OUTCOME, {"text": 1}, Authorization="Bearer open-sesame")[0] == 400
        counts = get(port, "/metrics")[2].decode()
    told = [(line["route"], line["outcome"], line["status"], line["key"]) for line in read_log(log)]
    assert told == [
        (OUTCOME, "rejected", 401, None),
        (OUTCOME, "answered", 200, 1),
        (OUTCOME, "rejected", 400, 1),
    ]
    assert f'sightguard_requests_total{{route="{OUTCOME}",status="200"}} 1.0' in counts


def test_a_long_text_is_read_at_its_beginning_and_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    began, go, read = threading.Event(), threading.Event(), []

    def judge(sample: Sample, response: Response) -> Verdict:
        read.append(response.text)
        began.set()
        assert go.wait(20)
        return Verdict("judge", "complied")

    monkeypatch.setattr(pages, "_judge", lambda: judge)
    with running(Service(Scripted(), Settings())) as port, ThreadPoolExecutor(1) as other:
        asked = other.submit(post, port, OUTCOME, {"text": "</think>" * 8000})
        assert began.wait(20)
        assert get(port, "/healthz")[0] == 200
        go.set()
        assert asked.result()[0] == 200
    assert [len(text) for text in read] == [READ]
