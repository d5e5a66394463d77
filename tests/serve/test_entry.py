from __future__ import annotations

import hashlib
import json
from typing import Any

from sightguard.serve.entry import MOST, Entry
from sightguard.serve.job import GuardId, LayerGate, Proof
from sightguard.types import Image, Message, Risk, Sample

GUARD = GuardId("guards/mine", "ab" * 32)
PICTURE = b"\x89PNG marker-of-the-picture"
SAMPLE = Sample(
    "request-1",
    (
        Message("system", ("marker-of-the-system",)),
        Message("user", (Image(data=PICTURE), "marker-of-the-question \u00e4")),
    ),
)
PROOF = Proof(
    inspected={"text": 2, "image": 1},
    methods=("vlm_guard",),
    risk=Risk("privacy", 2, 0.75),
    rule="privacy/2:may_refuse",
    gate=(LayerGate(4, 1.5, 1.0, True), LayerGate(5, float("nan"), 1.0, False)),
)


def entry(**changes: Any) -> Entry:
    known: dict[str, Any] = {
        "id": "request-1", "route": "/v1/chat/completions", "outcome": "answered", "status": 200, "guard": GUARD, "model": "pocket",
        "key": 2, "sample": SAMPLE, "received": {"text": 2, "image": 1}, "proof": PROOF, "finish": "stop", "seconds": 0.5,
        "first_token": 0.25, "prompt_tokens": 30, "answer_tokens": 4, "answer": "marker-of-the-answer", "time": 1_700_000_000.0,
    }  # fmt: skip
    return Entry(**known | changes)


def test_a_line_says_what_was_asked_seen_decided_and_done() -> None:
    line = entry().line(content=False)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    question = "marker-of-the-question \u00e4".encode()
    assert json.loads(line) == {
        "schema": 1,
        "time": "2023-11-14T22:13:20.000+00:00",
        "id": "request-1",
        "route": "/v1/chat/completions",
        "model": "pocket",
        "key": 2,
        "guard": {"id": "guards/mine", "sha256": "ab" * 32},
        "bypass": False,
        "outcome": "answered",
        "status": 200,
        "finish": "stop",
        "trouble": None,
        "parts": {
            "received": {"text": 2, "image": 1},
            "inspected": {"text": 2, "image": 1},
            "hashes": [
                {"turn": 0, "role": "system", "kind": "text", "bytes": 20,
                 "sha256": hashlib.sha256(b"marker-of-the-system").hexdigest()},
                {"turn": 1, "role": "user", "kind": "image", "bytes": len(PICTURE), "sha256": hashlib.sha256(PICTURE).hexdigest()},
                {"turn": 1, "role": "user", "kind": "text", "bytes": len(question), "sha256": hashlib.sha256(question).hexdigest()},
            ],
        },
        "verdict": {"type": "privacy", "level": 2, "p_unsafe": 0.75},
        "gate": [
            {"layer": 4, "score": 1.5, "threshold": 1.0, "fired": True},
            {"layer": 5, "score": "nan", "threshold": 1.0, "fired": False},
        ],
        "rule": "privacy/2:may_refuse",
        "methods": ["vlm_guard"],
        "inputs": [],
        "seconds": 0.5,
        "first_token": 0.25,
        "tokens": {"prompt": 30, "answer": 4},
    }  # fmt: skip


def test_content_is_written_where_it_is_asked_for_alone_and_pictures_never() -> None:
    assert b"marker" not in entry().line(content=False)
    assert "marker" not in repr(entry())
    told = json.loads(entry().line(content=True))
    assert told["content"] == [
        {"role": "system", "texts": ["marker-of-the-system"]},
        {"role": "user", "texts": ["marker-of-the-question \u00e4"]},
    ]
    assert told["answer"] == "marker-of-the-answer"
    assert b"marker-of-the-picture" not in entry().line(content=True)


def test_a_request_that_could_not_be_read_has_a_line_too() -> None:
    rejected = Entry(id="x", route="other", outcome="rejected", status=400, guard=GUARD, trouble="bad_request")
    told = json.loads(rejected.line(content=True))
    assert told["parts"] == {"received": {}, "inspected": {}, "hashes": []}
    assert (told["verdict"], told["gate"], told["content"], told["answer"]) == (None, [], [], None)


def test_no_text_breaks_the_line() -> None:
    text = "half \ud83d, line\nbreaks\u2028\x85\r, \x00"
    line = entry(sample=Sample.of(text), answer=text).line(content=True)
    assert len(line.splitlines()) == 1
    line.decode("ascii")
    assert json.loads(line)["content"][0]["texts"] == [text]


def test_a_name_or_many_parts_do_not_fill_the_log() -> None:
    many = Sample("x", (Message("user", ("a",) * (MOST + 7)),))
    line = entry(model="m" * 10_000, sample=many).line(content=False)
    told = json.loads(line)
    assert len(told["model"]) == 200
    hashes = told["parts"]["hashes"]
    rest = hashlib.sha256(hashlib.sha256(b"a").hexdigest().encode() * 7).hexdigest()
    assert hashes[-1] == {"kind": "more", "parts": 7, "sha256": rest}
    assert len(hashes) == MOST + 1
