"""Nothing leaves of which a picture was not looked at; with --refuse-uninspected nothing of which anything was not."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sightguard.data.blank import blank
from sightguard.serve.job import Done, Job, Piece, Proof
from tests.serve.running import Scripted, metric
from tests.serve.servers import ask, running, says

URL = "data:image/png;base64," + base64.b64encode(blank(8, 8).read()).decode()
PICTURED = [{"type": "image_url", "image_url": {"url": URL}}, {"type": "text", "text": "what is this ?"}]


class Blind(Scripted):
    """Looks at fewer parts than come."""

    def __init__(self, text: int, image: int) -> None:
        super().__init__()
        self.inspected = {"text": text, "image": image}

    def answer(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            job.tell(Proof(self.inspected, rule="safe:answer"))
            job.tell(Piece("words that must not leave"))
            job.tell(Done("stop", 1, 5))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("text", "image", "content", "strict", "answered"),
    [
        (1, 0, PICTURED, False, False),
        (1, 1, [PICTURED[0], *PICTURED], False, False),
        (1, 1, PICTURED, True, True),
        (0, 1, PICTURED, False, True),
        (0, 1, PICTURED, True, False),
        (0, 0, "hello", False, True),
        (0, 0, "hello", True, False),
    ],
)
def test_what_was_not_inspected_is_refused(
    tmp_path: Path, text: int, image: int, content: Any, strict: bool, answered: bool, stream: bool
) -> None:
    with running(Blind(text, image), tmp_path, refuse_uninspected=strict) as server:
        reply = ask(server.port, says(content, model="tiny", stream=stream))
        refusals = metric(server.port, "sightguard_refusals_total")
    assert reply.status == 200
    assert (b"must not leave" in reply.data) == answered
    proof = json.loads(reply.headers["x-sightguard"])
    assert proof["parts"]["inspected"] == {"text": text, "image": image}
    assert proof["rule"] == ("safe:answer" if answered else "not_inspected")
    if not stream:
        (choice,) = reply.json["choices"]
        assert choice["finish_reason"] == ("stop" if answered else "content_filter")
        assert (choice["message"]["refusal"] is None) == answered
    assert server.outcomes()[-1] == ("answered" if answered else "refused")
    assert refusals == (0 if answered else 1)
