"""Clients of a server: so many at once, each asking one question after the other; prints what they saw as JSON.

python -m benchmarks.load PORT CLIENTS REQUESTS TOKENS

A process of its own, so that what clients cost is not the server's, as far as there are cores.
"""

from __future__ import annotations

import base64
import http.client
import json
import sys
import threading
import time
from typing import Any

from sightguard.data.blank import blank


def ask(connection: http.client.HTTPConnection, body: bytes) -> tuple[float, int]:
    """Return the seconds of one request and the tokens of its answer; 0 where it was lost."""
    began = time.perf_counter()
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    reply = connection.getresponse()
    told = json.loads(reply.read())
    tokens = told["usage"]["completion_tokens"] if reply.status == 200 else 0
    return time.perf_counter() - began, tokens


def body(number: int, tokens: int) -> bytes:
    """Return a question beside a picture, in words that every model of the benchmarks knows."""
    url = "data:image/png;base64," + base64.b64encode(blank().read()).decode()
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": f"{number} what is this ?"}]
    asked = {"model": "bench", "messages": [{"role": "user", "content": parts}], "temperature": 0, "max_tokens": tokens}
    return json.dumps(asked).encode()


def load(port: int, clients: int, requests: int, tokens: int) -> dict[str, Any]:
    """Return seconds, latencies and tokens of `requests` requests by `clients` clients."""
    bodies = [body(number, tokens) for number in range(requests)]
    latencies: list[float] = []
    answered: list[int] = []
    lock = threading.Lock()

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        while True:
            with lock:
                if not bodies:
                    return
                mine = bodies.pop()
            seconds, count = ask(connection, mine)
            with lock:
                latencies.append(seconds)
                answered.append(count)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "latencies": latencies, "tokens": sum(answered), "lost": answered.count(0)}


if __name__ == "__main__":
    print(json.dumps(load(*map(int, sys.argv[1:5]))))
