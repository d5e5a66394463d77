from __future__ import annotations

import socket
import ssl
import subprocess
import time
import traceback
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from sightguard.errors import PictureError, UsageError
from sightguard.serve.fetch import Fetcher
from sightguard.serve.reach import IP
from tests.serve.web import Page, Web, moved, page, web

BODY = bytes(range(256)) * 40
HOST = "images.test"
HIDDEN = "s3cret"


class Names:
    """A name server that gives its answers one after the other, and then the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers, self.asked = list(answers), 0

    def __call__(self, host: str) -> Sequence[str]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def only_one(address: IP) -> bool:
    """Loopback's first address stands for the public internet, all others for what is private."""
    return str(address) == "127.0.0.1"


def fetcher(host: Web, *hosts: str, max_bytes: int = 20_000, seconds: float = 5.0, **test: Any) -> Fetcher:
    settings: dict[str, Any] = {"resolve": Names(["127.0.0.1"]), "public": only_one} | test
    return Fetcher.of([f"{HOST}:{host.port}", *hosts], max_bytes=max_bytes, seconds=seconds, **settings)


def told(fetch: Fetcher, url: str) -> str:
    """Why `url` is not fetched; the message names no more than the host, and nothing hangs on to the error."""
    with pytest.raises(PictureError) as caught:
        fetch(url)
    whole = "".join(traceback.format_exception_only(caught.value))
    assert HIDDEN not in whole
    assert "127.0.0" not in whole
    assert caught.value.__cause__ is None
    return str(caught.value)


def drip(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "image/png")
    handler.end_headers()
    while True:
        handler.wfile.write(b"x")
        time.sleep(0.05)


def drip_head(handler: BaseHTTPRequestHandler) -> None:
    while True:
        handler.wfile.write(b"H")
        time.sleep(0.05)


def continue_for_ever(handler: BaseHTTPRequestHandler) -> None:
    while True:
        handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.01)


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "image/png")
    handler.end_headers()
    while True:
        handler.wfile.write(b"x" * 65536)


def chunks(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> Page:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        handler.wfile.write(head + body + end)

    return answer


PAGES = {
    "/good": page(BODY),
    "/stored": page(BODY, "binary/octet-stream"),
    "/chunked": chunks(BODY[:100], BODY[100:]),
    "/chunks-cut": chunks(BODY, end=b""),
    "/no-length": page(BODY, Content_Length=""),
    "/too-short": page(BODY, Content_Length=str(len(BODY) + 1)),
    "/claims-little": page(BODY * 10, Content_Length="10"),
    "/claims-much": page(b"", Content_Length="99999999999"),
    "/large-chunks": chunks(*[BODY] * 4),
    "/exact": page(b"x" * 20_000),
    "/one-over": page(b"x" * 20_001, Content_Length=""),
    "/zipped": page(BODY, Content_Encoding="gzip"),
    "/identity": page(BODY, Content_Encoding="identity"),
    "/html": page(b"<html>", "text/html"),
    "/svg": page(b"<svg/>", "image/svg+xml; charset=utf-8"),
    "/untyped": page(BODY, None),
    "/absent": page(BODY, status=404),
    "/part": page(BODY, status=206),
    "/drip": drip,
    "/drip-head": drip_head,
    "/100": continue_for_ever,
    "/endless": endless,
    "/once": moved("/good"),
    "/twice": moved("/once", 307),
    "/four": moved("/thrice", 301),
    "/loop": moved("/loop"),
    "/nowhere": moved(""),
    "/to-port": moved(f"http://{HOST}/good"),
    "/to-file": moved("file:///etc/passwd"),
    "/to-metadata": moved("http://169.254.169.254/latest"),
}


def at_port(port: int) -> dict[str, Page]:
    """Redirects that name the port that the host listens on."""
    return {
        "/thrice": moved(f"//{HOST}:{port}/twice", 308),
        "/to-other": moved(f"http://other.test:{port}/good"),
        "/to-credentials": moved(f"http://user:{HIDDEN}@{HOST}:{port}/good"),
        "/to-inside": moved(f"http://inside.test:{port}/good"),
        "/to-literal": moved(f"http://127.0.0.2:{port}/good"),
    }


@pytest.fixture(scope="module")
def host() -> Iterator[Web]:
    pages = dict(PAGES)
    with web(pages) as known:
        pages |= at_port(known.port)
        yield known


@pytest.mark.parametrize(
    "path", ["/good", "/stored", "/chunked", "/no-length", "/identity", "/once", "/twice", "/thrice"]
)
def test_a_picture_comes_as_it_is(host: Web, path: str) -> None:
    assert fetcher(host)(f"http://{HOST}:{host.port}{path}") == BODY


def test_the_request_asks_plainly_and_names_the_host(host: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    fetcher(host)(f"http://{HOST}:{host.port}/good")
    path, headers = host.asked[-1]
    assert path == "/good"
    assert headers == {
        "Host": f"{HOST}:{host.port}",
        "Accept": "image/*",
        "Accept-Encoding": "identity",
        "User-Agent": "sightguard",
        "Connection": "close",
    }


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/too-short", "cut short"),
        ("/chunks-cut", "could not be fetched"),
        ("/claims-much", "larger than"),
        ("/large-chunks", "larger than"),
        ("/one-over", "larger than"),
        ("/endless", "larger than"),
        ("/zipped", "compressed"),
        ("/html", "no picture"),
        ("/svg", "no picture"),
        ("/untyped", "no picture"),
        ("/absent", "status 404"),
        ("/part", "status 206"),
        ("/four", "more than 3 times"),
        ("/loop", "more than 3 times"),
        ("/nowhere", "nowhere"),
        ("/to-file", "refused"),
        ("/to-credentials", "refused"),
        ("/to-other", "list of hosts"),
        ("/to-port", "list of hosts"),
        ("/to-metadata", "list of hosts"),
    ],
)
def test_a_bad_answer_is_refused(host: Web, path: str, reason: str) -> None:
    assert reason in told(fetcher(host), f"http://{HOST}:{host.port}{path}")


def test_the_limit_is_of_bytes_that_came_not_of_those_that_were_promised(host: Web) -> None:
    assert len(fetcher(host)(f"http://{HOST}:{host.port}/exact")) == 20_000
    assert len(fetcher(host)(f"http://{HOST}:{host.port}/claims-little")) == 10


@pytest.mark.parametrize("path", ["/drip", "/drip-head", "/100"])
def test_an_answer_that_drips_ends_at_the_total_limit(host: Web, path: str) -> None:
    began = time.monotonic()
    assert "within 0.4 s" in told(fetcher(host, seconds=0.4), f"http://{HOST}:{host.port}{path}")
    assert time.monotonic() - began < 4


def test_a_name_server_that_does_not_answer_ends_at_the_total_limit(host: Web) -> None:
    def slow(_: str) -> list[str]:
        time.sleep(8.0)
        return ["127.0.0.1"]

    began = time.monotonic()
    assert "within 0.2 s" in told(fetcher(host, seconds=0.2, resolve=slow), f"http://{HOST}:{host.port}/good")
    assert time.monotonic() - began < 4


@pytest.mark.parametrize(
    "answer", [["127.0.0.1"], ["::1"], ["8.8.8.8", "10.0.0.1"], ["169.254.169.254"], ["::ffff:127.0.0.1"]]
)
def test_a_name_that_leads_inside_is_not_asked(host: Web, answer: list[str]) -> None:
    before = len(host.asked)
    fetch = Fetcher.of([f"{HOST}:{host.port}"], max_bytes=20_000, seconds=1.0, resolve=Names(answer))
    assert "not public" in told(fetch, f"http://{HOST}:{host.port}/good?{HIDDEN}")
    assert len(host.asked) == before


def test_a_literal_that_is_listed_and_private_is_refused_all_the_same(host: Web) -> None:
    fetch = Fetcher.of([f"127.0.0.1:{host.port}", f"[::ffff:127.0.0.1]:{host.port}"], max_bytes=20_000)
    for literal in ("127.0.0.1", "[::ffff:127.0.0.1]"):
        with pytest.raises(PictureError, match="not public"):
            fetch(f"http://{literal}:{host.port}/good")


def test_a_name_that_changes_after_the_check_changes_nothing(host: Web) -> None:
    with web({"/good": page(b"inside")}, "127.0.0.2", host.port) as inside:
        names = Names(["127.0.0.1"], ["127.0.0.2"])
        assert fetcher(host, resolve=names)(f"http://{HOST}:{host.port}/good") == BODY
        assert names.asked == 1
        assert inside.asked == []


def test_nothing_below_looks_the_name_up_again(host: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def counted(name: str, *_: object, **__: object) -> list[Any]:
        asked.append(name)
        inside = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (inside, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", counted)
    fetch = Fetcher.of([f"{HOST}:{host.port}"], max_bytes=20_000, public=only_one)
    assert fetch(f"http://{HOST}:{host.port}/good") == BODY
    assert asked == [HOST]


def test_a_redirect_is_checked_as_the_first_address_was(host: Web) -> None:
    with web({"/good": page(b"inside")}, "127.0.0.2", host.port) as inside:
        names = Names(["127.0.0.1"], ["127.0.0.2"])
        url = f"http://{HOST}:{host.port}"
        assert "not public" in told(fetcher(host, resolve=names), f"{url}/once")  # the same host, rebound between hops
        listed = fetcher(
            host,
            f"inside.test:{host.port}",
            resolve=lambda name: ["127.0.0.2" if name == "inside.test" else "127.0.0.1"],
        )
        assert "not public" in told(listed, f"{url}/to-inside")
        literal = fetcher(
            host, f"127.0.0.2:{host.port}", resolve=lambda name: [name if name[0].isdigit() else "127.0.0.1"]
        )
        with pytest.raises(PictureError, match="not public"):
            literal(f"{url}/to-literal")
        assert inside.asked == []


def test_a_dead_address_leaves_time_for_the_next_one(host: Web) -> None:
    fetch = fetcher(host, resolve=Names(["127.0.0.3", "127.0.0.1"]), public=lambda _: True)
    assert fetch(f"http://{HOST}:{host.port}/good") == BODY
    none = fetcher(host, resolve=Names(["127.0.0.3"]), public=lambda _: True)
    assert "could not be fetched" in told(none, f"http://{HOST}:{host.port}/good")
    assert "could not be fetched" in told(fetcher(host, resolve=Names([])), f"http://{HOST}:{host.port}/good")


def test_a_name_that_does_not_exist_says_no_more_than_a_closed_port(host: Web) -> None:
    def unknown(_: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    assert "could not be fetched" in told(fetcher(host, resolve=unknown), f"http://{HOST}:{host.port}/good")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for `images.test`, signed by itself, and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}",
         "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return folder


def test_a_certificate_must_be_for_the_name_that_was_asked_for(certificate: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    trust = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    pages = {"/good": page(BODY), "/down": moved("http://images.test:1/good")}
    with web(pages, tls=server) as secure:
        fetch = fetcher(secure, f"other.test:{secure.port}", tls=trust)
        assert fetch(f"https://{HOST}:{secure.port}/good") == BODY
        assert "certificate" in told(fetch, f"https://other.test:{secure.port}/good")
        assert "certificate" in told(fetcher(secure), f"https://{HOST}:{secure.port}/good")
        down = fetcher(secure, f"{HOST}:1", tls=trust)
        assert "from https to http" in told(down, f"https://{HOST}:{secure.port}/down")
        assert "could not be fetched" in told(fetch, f"http://{HOST}:{secure.port}/good")


@pytest.mark.parametrize("limits", [{"max_bytes": 0}, {"max_bytes": 1, "seconds": 0.0}])
def test_a_limit_that_cannot_be_meant_is_refused_at_the_start(limits: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Fetcher.of([HOST], **limits)
