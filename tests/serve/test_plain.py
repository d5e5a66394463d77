"""Answers without the guard: only where they were asked for at the start, only for this computer, and never uncounted."""

from __future__ import annotations

import http.client
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from sightguard.serve.keys import Keys
from sightguard.serve.log import AuditLog
from sightguard.serve.loopback import SECRET, check_local, check_secret, is_loopback, name_of
from sightguard.serve.service import Service
from sightguard.serve.settings import Settings
from sightguard.serve.wire.errors import WireError
from tests.serve.running import WORDS, Scripted, metric, post, running

PLAIN, CHAT = "/playground/plain", "/v1/chat/completions"
ASK: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}
BYPASSES = "sightguard_bypasses_total"


class Place:
    """A server with the comparison, its engine and its log."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.engine, self.log = Scripted(), folder / "audit.jsonl"
        self.service = Service(self.engine, Settings(compare=True, **settings), None, AuditLog(self.log))
        self.port = 0

    @property
    def told(self) -> dict[str, str]:
        """The header that the page sends."""
        return {SECRET: self.service.secret}

    def plain(self, body: Any = ASK, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Ask without the guard, as the page does."""
        return post(self.port, PLAIN, body, **self.told | headers)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def until(self, outcome: str) -> dict[str, Any]:
        """Wait for the line of a request that ended so."""
        for _ in range(1000):
            if self.lines() and self.lines()[-1]["outcome"] == outcome:
                return self.lines()[-1]
            time.sleep(0.01)
        raise AssertionError([line["outcome"] for line in self.lines()])


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    with running(made.service) as port:
        made.port = port
        yield made


def test_without_the_flag_there_is_no_such_route() -> None:
    engine = Scripted()
    with running(Service(engine, Settings())) as port:
        status, _, body = post(port, PLAIN, ASK)
        assert (status, json.loads(body)["error"]["code"]) == (404, "unknown_url")
        assert engine.jobs == []


def test_an_answer_without_the_guard_says_so_and_is_counted_and_logged(place: Place) -> None:
    status, headers, body = place.plain()
    told = json.loads(body)
    assert (status, told["choices"][0]["message"]["content"]) == (200, "".join(WORDS))
    assert [job.plain for job in place.engine.jobs] == [True]
    assert told["sightguard"]["rule"] == "bypass"
    assert told["sightguard"]["parts"] == {"received": {"text": 1, "image": 0}, "inspected": {"text": 0, "image": 0}}
    assert json.loads(headers["x-sightguard"])["rule"] == "bypass"
    assert metric(place.port, BYPASSES) == 1
    assert [(line["route"], line["bypass"], line["outcome"]) for line in place.lines()] == [(PLAIN, True, "answered")]


def test_the_guarded_route_stays_guarded_and_counts_no_bypass(place: Place) -> None:
    status, _, body = post(place.port, CHAT, ASK)
    assert (status, json.loads(body)["sightguard"]["rule"]) == (200, None)
    for extra in ({"plain": True}, {"guard": None}, {"bypass": True}):
        assert post(place.port, CHAT, ASK | extra)[0] == 400
    assert [job.plain for job in place.engine.jobs] == [False]
    assert metric(place.port, BYPASSES) == 0
    assert not any(line["bypass"] for line in place.lines())


def test_a_stream_without_the_guard_is_logged_before_its_text_and_counted_once(place: Place) -> None:
    status, _, body = place.plain(ASK | {"stream": True})
    assert status == 200
    assert body.endswith(b"data: [DONE]\n\n")
    assert [(line["bypass"], line["outcome"]) for line in place.lines()] == [(True, "streaming"), (True, "answered")]
    assert metric(place.port, BYPASSES) == 1


def test_a_stream_that_is_broken_off_after_its_first_text_is_counted_too(place: Place) -> None:
    place.engine.held = 1
    line = http.client.HTTPConnection("127.0.0.1", place.port, timeout=30)
    line.request("POST", PLAIN, json.dumps(ASK | {"stream": True}), {"Content-Type": "application/json"} | place.told)
    answer = line.getresponse()
    while WORDS[0].strip() not in (text := answer.readline().decode()) or '"content":"a ' not in text:
        pass
    answer.close()
    line.close()
    ended = place.until("cancelled")
    assert (ended["bypass"], ended["route"]) == (True, PLAIN)
    assert place.engine.jobs[0].gone.is_set()
    assert metric(place.port, BYPASSES) == 1


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Origin": "http://evil.example"}, 403, "local_only"),
        ({"Origin": "null"}, 403, "local_only"),
        ({"Origin": "http://127.0.0.1:1"}, 403, "local_only"),
        ({"Origin": "https://127.0.0.1:{port}"}, 403, "local_only"),
        ({"Origin": "http://localhost:{port}"}, 403, "local_only"),  # the page was loaded from 127.0.0.1
        ({"Sec_Fetch_Site": "cross-site"}, 403, "local_only"),
        ({"Sec_Fetch_Site": "same-site"}, 403, "local_only"),
        ({"X_Forwarded_For": "127.0.0.1"}, 403, "local_only"),
        ({"X_Forwarded_For": "192.0.2.1"}, 403, "local_only"),
        ({"Forwarded": "for=127.0.0.1"}, 403, "local_only"),
        ({"Via": "1.1 proxy"}, 403, "local_only"),
        ({"X_Forwarded_Proto": "https"}, 403, "local_only"),
        ({"X_Forwarded_Whatever": "x"}, 403, "local_only"),
        ({"X_Real_IP": "127.0.0.1"}, 403, "local_only"),
        ({"True_Client_IP": "127.0.0.1"}, 403, "local_only"),
        ({"CF_Connecting_IP": "127.0.0.1"}, 403, "local_only"),
        ({"CF_Ray": "1"}, 403, "local_only"),
        ({SECRET: ""}, 403, "compare_secret"),
        ({SECRET: "guessed"}, 403, "compare_secret"),
        ({SECRET: "\u00e4"}, 403, "compare_secret"),
        ({"Content_Type": "text/plain"}, 415, "unsupported_media_type"),
        ({"Content_Type": ""}, 415, "unsupported_media_type"),
        ({"Host": "evil.example"}, 421, "foreign_host"),
        ({"Host": "127.0.0.1.evil.example:{port}"}, 421, "foreign_host"),
        ({"Host": "localhost@evil.example"}, 421, "foreign_host"),
    ],
)
def test_others_get_no_answer_without_the_guard(place: Place, headers: dict[str, str], status: int, code: str) -> None:
    sent = {name: value.replace("{port}", str(place.port)) for name, value in headers.items()}
    got, _, body = place.plain(**sent)
    assert (got, json.loads(body)["error"]["code"]) == (status, code)
    assert place.engine.jobs == []
    assert metric(place.port, BYPASSES) == 0
    assert [(line["outcome"], line["status"], line["bypass"]) for line in place.lines()] == [
        ("rejected", status, False)
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LocalHost", "[::1]"])
def test_the_page_of_this_very_server_may_ask(place: Place, host: str) -> None:
    here = f"{host}:{place.port}"
    headers = {"Host": here, "Origin": f"http://{here.lower()}", "Sec_Fetch_Site": "same-origin"}
    assert place.plain(**headers)[0] == 200


def test_a_key_opens_this_route_too(tmp_path: Path) -> None:
    engine = Scripted()
    service = Service(engine, Settings(compare=True), Keys.of(["open-sesame"]))
    told = {SECRET: service.secret}
    with running(service) as port:
        assert post(port, PLAIN, ASK, **told)[0] == 401
        assert post(port, PLAIN, ASK, Authorization="Bearer open-sesame")[0] == 403
        assert post(port, PLAIN, ASK, Authorization=f"Bearer {service.secret}", **told)[0] == 401
        assert engine.jobs == []
        assert post(port, PLAIN, ASK, Authorization="Bearer open-sesame", **told)[0] == 200


def test_what_only_a_guard_could_keep_to_is_refused(place: Place) -> None:
    wish = {"moderation": {"model": "tiny", "policy": {"input": {"mode": "block"}}}}
    status, _, body = place.plain(ASK | wish)
    assert (status, json.loads(body)["error"]["param"]) == (400, "moderation")
    assert place.engine.jobs == []


def request(client: tuple[str, int] | None) -> Request:
    headers = [(b"host", b"127.0.0.1:8000")]
    return Request({"type": "http", "method": "POST", "scheme": "http", "path": PLAIN, "query_string": b"",
                    "server": ("127.0.0.1", 8000), "headers": headers, "client": client})  # fmt: skip


@pytest.mark.parametrize("client", [("192.0.2.1", 9), ("10.0.0.1", 9), ("fe80::1", 9), ("testclient", 9), None])
def test_another_computer_gets_no_answer_without_the_guard(client: tuple[str, int] | None) -> None:
    check_local(request(("127.0.0.1", 9)))
    check_local(request(("::1", 9)))
    with pytest.raises(WireError, match="another computer"):
        check_local(request(client))


@pytest.mark.parametrize("path", [CHAT, "/v1/moderations", "/nowhere", "/"])
def test_on_loopback_no_route_answers_to_a_foreign_name(place: Place, path: str) -> None:
    status, _, body = post(place.port, path, ASK, Host="evil.example")
    assert (status, json.loads(body)["error"]["code"]) == (421, "foreign_host")
    assert post(place.port, path, b"", Host="")[0] in (400, 421)
    assert place.engine.jobs == []
    assert metric(place.port, "sightguard_errors_total") >= 1


def test_elsewhere_any_name_is_known() -> None:
    with running(Service(Scripted(), Settings(host="0.0.0.0"))) as port:
        assert post(port, CHAT, ASK, Host="models.example.org")[0] == 200


@pytest.mark.parametrize(
    ("hosts", "name"),
    [
        (["localhost"], "localhost"),
        (["[::1]:80"], "[::1]"),
        (["127.0.0.1:"], None),
        (["a b"], None),
        (["[::1"], None),
        (["a:1:2"], None),
        (["a", "a"], None),
        ([], None),
        ([""], None),
    ],
)
def test_the_name_of_a_host(hosts: list[str], name: str | None) -> None:
    assert name_of(hosts) == name


def test_addresses_of_loopback() -> None:
    known = ["127.0.0.1", "127.9.9.9", "::1", "localhost", "0.0.0.0", "::", "10.0.0.1", "localhost.evil.example"]
    assert [is_loopback(host) for host in known] == [True] * 4 + [False] * 4


def test_through_a_proxy_that_adds_nothing_nobody_gets_in_without_the_secret(place: Place) -> None:
    """As nginx sends it with `proxy_pass http://127.0.0.1:8000;` alone: the Host of loopback, and not who asked."""
    status, _, body = post(place.port, PLAIN, ASK, Host=f"127.0.0.1:{place.port}", Connection="close")
    assert (status, json.loads(body)["error"]["code"]) == (403, "compare_secret")
    assert "printed" in json.loads(body)["error"]["message"]
    assert place.service.secret.encode() not in body
    assert place.engine.jobs == []
    assert [(line["outcome"], line["trouble"], line["bypass"]) for line in place.lines()] == [
        ("rejected", "compare_secret", False)
    ]


def test_the_secret_is_long_is_another_at_each_start_and_stands_nowhere(place: Place) -> None:
    assert place.plain()[0] == 200
    secret = place.service.secret
    assert len(secret) >= 40
    assert secret != Service(Scripted(), Settings(compare=True)).secret
    assert secret not in repr(place.service)
    assert secret not in place.log.read_text()
    for path in ("/", "/playground/settings.json", "/playground/app.js", "/metrics", "/readyz", "/openapi.json"):
        with urllib.request.urlopen(f"http://127.0.0.1:{place.port}{path}") as got:
            assert secret.encode() not in got.read()


def test_two_secrets_are_none() -> None:
    asked = request(("127.0.0.1", 9))
    for count, opens in ((0, False), (1, True), (2, False)):
        scope = {**asked.scope, "headers": [*asked.scope["headers"], *[(SECRET.encode(), b"s3cret")] * count]}
        if opens:
            check_secret(Request(scope), "s3cret")
        else:
            with pytest.raises(WireError, match="secret of this start"):
                check_secret(Request(scope), "s3cret")


@pytest.mark.parametrize(("words", "printed"), [((), False), (("--playground-compare",), True)])
def test_the_start_prints_the_address_with_the_secret_where_it_is_asked_for(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], printed: bool
) -> None:
    from sightguard.cli.serve import _ready
    from sightguard.engine.make import Make

    make = Make(model="pocket", settings=Settings(compare=bool(words)))
    _ready(make, "pocket", "http://127.0.0.1:8000", "s3cret")
    out, err = capsys.readouterr()
    assert out == ""
    assert ("playground: http://127.0.0.1:8000/#compare=s3cret\n" in err) is printed
    assert ("s3cret" in err) is printed
