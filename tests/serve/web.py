"""A small web host on loopback that behaves as badly as it is told, and remembers what it was asked."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Page = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Web:
    """Its port, and what it was asked: path and headers."""

    port: int
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)


def page(body: bytes, kind: str | None = "image/png", status: int = 200, **headers: str) -> Page:
    """An answer with this body; a length is sent unless `Content_Length=""` is given."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        told = {"Content-Length": str(len(body))} | {name.replace("_", "-"): value for name, value in headers.items()}
        if kind is not None:
            told["Content-Type"] = kind
        handler.send_response(status)
        for name, value in told.items():
            if value:
                handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def moved(location: str, status: int = 302) -> Page:
    return page(b"", None, status, Location=location)


@contextmanager
def web(
    pages: Mapping[str, Page], host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[Web]:
    """Serve `pages` by path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known.asked.append((self.path, dict(self.headers.items())))
            try:
                pages[self.path](self)
            except OSError:
                self.close_connection = True  # the client left, as it should

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: object) -> None:
            pass

    with Quiet((host, port), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        known = Web(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield known
        finally:
            server.shutdown()
            thread.join()
