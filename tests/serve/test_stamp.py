"""An answer says when it was asked for, not when the server was started."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.serve.fake import Fake
from tests.serve.servers import ask, running, says


def test_an_answer_is_dated_by_its_request(tmp_path: Path) -> None:
    with running(Fake(), tmp_path) as server:
        server.service.created = 1_000
        began = int(time.time())
        told = ask(server.port, says("hello")).json
        assert began <= told["created"] <= time.time()


def test_all_chunks_of_a_stream_have_one_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dates = iter(range(5_000, 6_000))
    monkeypatch.setattr("sightguard.serve.record.time.time", lambda: next(dates))
    with running(Fake(), tmp_path) as server:
        server.service.created = 1_000
        streamed = ask(server.port, says("hello", stream=True)).data.decode()
    chunks = [json.loads(line[6:]) for line in streamed.splitlines() if line.startswith("data: {")]
    assert len(chunks) >= 3
    (date,) = {chunk["created"] for chunk in chunks}
    assert 5_000 <= date < 6_000
