"""Requests that no well-meaning client sends, against a server as users start it."""

from __future__ import annotations

import pytest

from tests.serve.servers import CHAT, Process, ask, says
from tests.serve.strange import STRANGE, Strange


@pytest.mark.parametrize("strange", STRANGE, ids=lambda strange: strange.sent)
def test_a_strange_request_is_answered_as_it_should_be(pocket: Process, strange: Strange) -> None:
    reply = ask(pocket.port, path=strange.path, data=strange.data())
    assert reply.status == strange.status, reply.data[:300]
    if strange.status == 200:
        parts = reply.json["sightguard"]["parts"]
        assert parts["inspected"]["image"] == parts["received"]["image"]
    elif strange.code is not None:
        assert reply.code == strange.code, reply.data[:300]
        param = reply.json["error"]["param"]
        assert param is None or strange.path == CHAT or param.startswith("input"), param
    assert len(reply.data) < 10_000
    assert ask(pocket.port, says("hello", "pocket", max_tokens=2)).status == 200
