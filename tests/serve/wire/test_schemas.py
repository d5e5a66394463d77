"""The published schemas against what is really taken, by a validator that we did not write."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest

from sightguard.serve.settings import Settings
from sightguard.serve.wire import chat as wire
from sightguard.serve.wire import moderations
from sightguard.serve.wire.errors import WireError
from sightguard.serve.wire.schemas import schemas
from tests.serve.wire.made import NAME, SETTINGS, chat, shown, uri
from tests.serve.wire.test_chat import BAD, NAMES
from tests.serve.wire.test_pictures import ELSEWHERE

SEMANTIC = {
    "the last turn an answer", "an empty answer", "both answer and refusal", "three pictures", "two lengths", "top_logprobs alone",
    "stream_options alone",
}  # fmt: skip
"""What a schema cannot say."""
UNSENDABLE = {
    "half a surrogate",
    "half a surrogate in a part",
    "half a surrogate in a stop",
    "half a role",
    "no number",
}
"""What a validator cannot be given."""


def validator(name: str, settings: Settings = SETTINGS) -> Any:
    document = {"components": {"schemas": schemas(settings, NAMES)}, "$ref": f"#/components/schemas/{name}"}
    return jsonschema_rs.validator_for(json.loads(json.dumps(document)))


@pytest.mark.parametrize("name", sorted(set(BAD) - SEMANTIC - UNSENDABLE))
def test_what_is_refused_breaks_the_schema(name: str) -> None:
    assert not validator("ChatRequest").is_valid(BAD[name][0])


def test_the_exceptions_are_few_and_really_exceptions() -> None:
    assert all(validator("ChatRequest").is_valid(BAD[name][0]) for name in SEMANTIC)


@pytest.mark.parametrize(
    "body",
    [
        chat(),
        chat(shown(uri())),
        chat(stop=["a"], n=1, tools=[], frequency_penalty=0.0, metadata={"a": "b"}, temperature=None),
        chat(moderation={"model": "vlm_guard", "policy": {"input": {"mode": "block"}, "output": None}}),
        chat(model="other"),
        chat(guard=False),
        chat(frequency_penalty=False),
        chat(n=True),
        chat(max_tokens=65),
        chat(max_tokens=1.0, seed=-0.0, top_logprobs=2e1, logprobs=True),
        chat(seed=0.5),
        chat(seed=1e19),
        chat([{"type": "text", "text": "x", "more": 1}]),
        {"model": NAME, "messages": [{"role": "user", "content": "x", "name": "Bo"}]},
        *(chat(shown(url)) for url in ELSEWHERE if url),
    ],
)
def test_the_schema_takes_what_is_taken_and_no_more(body: object) -> None:
    try:
        wire.read(body, SETTINGS, NAMES)
        taken = True
    except WireError:
        taken = False
    assert validator("ChatRequest").is_valid(body) == taken


@pytest.mark.parametrize(
    "body",
    [{"input": "a"}, {"input": ["a", "b"], "model": NAME}, {"input": shown(uri())}, {"input": []}, {"input": [1]}, {"input": "a", "x": 1},
     {"input": "a", "model": "other"}, {}, {"input": None}, {"input": ["a", {"type": "text", "text": "b"}]}],
)  # fmt: skip
def test_the_schema_of_moderations_takes_what_is_taken_and_no_more(body: object) -> None:
    try:
        moderations.read(body, SETTINGS, NAMES)
        taken = True
    except WireError:
        taken = False
    assert validator("ModerationRequest").is_valid(body) == taken


def test_addresses_are_in_the_schema_where_the_operator_allows_them() -> None:
    body = chat(shown("https://example.org/a.png"))
    assert not validator("ChatRequest").is_valid(body)
    assert validator("ChatRequest", Settings(image_hosts=("example.org",))).is_valid(body)
