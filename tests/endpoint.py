"""A local endpoint that speaks OpenAI's chat completions, answers as it is told and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Reply(NamedTuple):
    """What goes back on the wire."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = {}


@dataclass
class Endpoint:
    """Where it listens, and every request body and its headers so far."""

    url: str
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


def completion(text: str | None, finish_reason: str = "stop", **message: Any) -> Reply:
    """An answer in the wire's shape."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None, **message},
        "finish_reason": finish_reason,
        "logprobs": None,
    }
    usage = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}
    return Reply(
        {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": "fake",
            "choices": [choice],
            "usage": usage,
        }
    )


def failure(status: int, message: str = "no", **headers: str) -> Reply:
    """An error in the wire's shape."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply({"error": {"message": message, "type": "made_up", "param": None, "code": None}}, status, names)


def text_of(request: Mapping[str, Any]) -> str:
    """The text of the last turn of a request."""
    content = request["messages"][-1]["content"]
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content if part["type"] == "text")


@contextmanager
def at_the_end(late: threading.Event) -> Iterator[None]:
    """Release whoever waits for `late` when the block ends, so that a server with a reply on its way can close."""
    try:
        yield
    finally:
        late.set()


@contextmanager
def serve(answer: Callable[[dict[str, Any], int], Reply]) -> Iterator[Endpoint]:
    """Listen on a free port; `answer` gets the request and how many came before it."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(endpoint.asked)
                endpoint.asked.append({"path": self.path, **request})
                endpoint.headers.append({name.lower(): value for name, value in self.headers.items()})
            reply = answer(request, number)
            body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            try:
                self.send_response(reply.status)
                self.send_header("Content-Type", reply.headers.get("Content-Type", "application/json"))
                self.send_header("Content-Length", str(len(body)))
                for name, value in reply.headers.items():
                    if name != "Content-Type":
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):  # the client did not wait
                pass

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    endpoint = Endpoint(f"http://127.0.0.1:{server.server_address[1]}/v1")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
