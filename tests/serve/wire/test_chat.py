from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from pydantic import TypeAdapter

from sightguard.serve.job import Decoding
from sightguard.serve.wire.chat import Moderated, read
from sightguard.serve.wire.errors import WireError
from sightguard.serve.wire.fields import fields
from sightguard.serve.wire.requests import ChatRequest, Taken
from sightguard.types import Image, Message
from tests.serve.wire.made import NAME, SETTINGS, chat, encoded, shown, uri

NAMES = (NAME, "vlm_guard")
USER = {"role": "user", "content": "Hi"}


def error(body: object) -> WireError:
    with pytest.raises(WireError) as raised:
        read(body, SETTINGS, NAMES)
    json.dumps(raised.value.body(), allow_nan=False).encode()
    return raised.value


def test_a_plain_request_is_read_with_the_defaults() -> None:
    asked = read(chat(), SETTINGS, NAMES, id="7")
    assert asked.sample.id == "7"
    assert asked.sample.messages == (Message("user", ("What is this?",)),)
    assert asked.decoding == Decoding(max_tokens=64, temperature=1.0, top_p=1.0)
    assert (asked.stream, asked.include_usage, asked.moderation) == (False, False, None)
    assert asked.received == {"text": 1, "image": 0}


def test_text_and_pictures_keep_their_order_and_are_counted() -> None:
    first, second = encoded(), encoded("JPEG")
    parts = [*shown(uri(first), text="one"), *shown(uri(second, "image/jpeg"), text="two")]
    parts[0]["image_url"]["detail"] = "high"
    asked = read(chat(parts), SETTINGS, NAMES)
    assert asked.sample.messages[0].parts == (Image(data=first), "one", Image(data=second), "two")
    assert asked.received == {"text": 2, "image": 2}


def test_turns_of_all_roles_are_read_and_a_developer_is_the_system() -> None:
    turns: list[dict[str, Any]] = [
        {"role": "developer", "content": "Be short."},
        {"role": "system", "content": [{"type": "text", "text": "Be kind."}]},
        USER,
        {"role": "assistant", "content": "Hello."},
        USER,
    ]
    read_back = read({"model": NAME, "messages": turns}, SETTINGS, NAMES).sample.messages
    assert [turn.role for turn in read_back] == ["system", "system", "user", "assistant", "user"]
    assert [turn.text for turn in read_back] == ["Be short.", "Be kind.", "Hi", "Hello.", "Hi"]


def test_the_guards_refusal_can_be_sent_back_as_the_official_client_holds_it() -> None:
    turn = {"role": "assistant", "content": None, "refusal": "I can't.", "annotations": None, "audio": None,
            "function_call": None, "tool_calls": None}  # fmt: skip
    asked = read({"model": NAME, "messages": [USER, turn, USER]}, SETTINGS, NAMES)
    assert asked.sample.messages[1] == Message("assistant", ("I can't.",))


def test_how_it_is_decoded_is_taken_as_asked() -> None:
    body = chat(max_completion_tokens=5, temperature=0, top_p=0.5, seed=-3, stop=["a", "b"], logprobs=True,
                top_logprobs=20, stream=True, stream_options={"include_usage": True})  # fmt: skip
    asked = read(body, SETTINGS, NAMES)
    assert asked.decoding == Decoding(
        max_tokens=5, temperature=0.0, top_p=0.5, seed=-3, stop=("a", "b"), logprobs=True, top_logprobs=20
    )
    assert asked.stream
    assert asked.include_usage
    assert read(chat(stop="x", max_tokens=5, max_completion_tokens=5), SETTINGS, NAMES).decoding.stop == ("x",)


def test_null_is_the_same_as_nothing_in_every_field_that_may_be_left_out() -> None:
    nulls = {name: None for name in ChatRequest.model_fields if name not in ("messages", "model")}
    assert read(chat(**nulls), SETTINGS, NAMES) == read(chat(), SETTINGS, NAMES)


def test_the_table_names_every_field_of_the_official_client_and_every_field_that_is_read() -> None:
    table = fields()
    official = set(TypeAdapter(CompletionCreateParamsNonStreaming).json_schema()["properties"])
    named = {*table.taken, *table.ignored, *table.refused}
    assert official <= named
    assert set(table.taken) == set(Taken.model_fields)
    assert named == set(ChatRequest.model_fields)
    assert len(named) == len(table.taken) + len(table.ignored) + len(table.refused)


@pytest.mark.parametrize("name", fields().ignored)
@pytest.mark.parametrize("value", [True, "x", {"a": ["b"]}])
def test_harmless_fields_change_nothing(name: str, value: object) -> None:
    assert read(chat(**{name: value}), SETTINGS, NAMES) == read(chat(), SETTINGS, NAMES)


@pytest.mark.parametrize("name", fields().refused)
def test_fields_that_would_change_the_meaning_are_refused_by_name(name: str) -> None:
    for value in ({"type": "other"}, ["other"], "other", 2, True, False, 0.5):
        refused = error(chat(**{name: value}))
        assert (refused.status, refused.param, refused.code) == (400, name, "unsupported_parameter")
    for neutral in fields().refused[name].neutral:
        assert read(chat(**{name: neutral}), SETTINGS, NAMES) == read(chat(), SETTINGS, NAMES)


@pytest.mark.parametrize(
    "name", ["sightguard", "guard", "extra", "extra_body", "vllm_xargs", "plain", "top_k", "\ud800", "x" * 999]
)
def test_nothing_unknown_is_let_pass(name: str) -> None:
    refused = error(chat(**{name: {"guard": False}}))
    assert (refused.status, refused.code) == (400, "unknown_parameter")
    assert refused.param is not None
    assert len(refused.param) < 80


@pytest.mark.parametrize("place", [(), ("messages", 0), ("messages", 0, "content", 0), ("messages", 0, "content", 0, "image_url"),
                                   ("stream_options",), ("moderation",), ("moderation", "policy"), ("moderation", "policy", "input")])  # fmt: skip
def test_nothing_unknown_is_let_pass_at_any_depth(place: tuple[str | int, ...]) -> None:
    moderation = {"model": NAME, "policy": {"input": {"mode": "score"}}}
    body = chat(shown(uri()), stream=True, stream_options={}, moderation=moderation)
    read(body, SETTINGS, NAMES)
    here: Any = body
    for step in place:
        here = here[step]
    here["guard"] = "off"
    refused = error(body)
    assert (refused.code, refused.param) == ("unknown_parameter", ".".join(map(str, (*place, "guard"))))


BLOCK = {"model": NAME, "policy": {"output": {"mode": "block"}}}


def talk(*turns: object) -> dict[str, Any]:
    return {"model": NAME, "messages": list(turns)}


BAD: dict[str, tuple[object, str | None, str]] = {
    "no object": ([], None, "invalid_type"),
    "null": (None, None, "invalid_type"),
    "no messages": ({"model": NAME}, "messages", "missing_required_parameter"),
    "no model": ({"messages": [USER]}, "model", "missing_required_parameter"),
    "no turns": (talk(), "messages", "invalid_value"),
    "too many turns": ({"model": NAME, "messages": [USER] * 9}, "messages", "invalid_value"),
    "too many parts": (chat([{"type": "text", "text": ""}] * 1025), "messages.0.content", "invalid_value"),
    "far too many parts": (chat([None] * 2000), "messages", "invalid_value"),
    "no role": (talk({"content": "x"}), "messages.0.role", "missing_required_parameter"),
    "a tool": (talk({"role": "tool", "content": "x"}), "messages.0.role", "unsupported_value"),
    "a function": (talk({"role": "function", "content": "x"}), "messages.0.role", "unsupported_value"),
    "half a role": (talk({"role": "\ud800", "content": "x"}), "messages.0.role", "unsupported_value"),
    "the last turn an answer": (talk(USER, {"role": "assistant", "content": "x"}), "messages.1.role", "invalid_value"),
    "tool calls": (talk({"role": "assistant", "tool_calls": [{}]}, USER), "messages.0.tool_calls", "unsupported_parameter"),
    "an empty answer": (talk({"role": "assistant"}, USER), "messages.0", "invalid_value"),
    "both answer and refusal": (talk({"role": "assistant", "content": "", "refusal": ""}, USER), "messages.0", "invalid_value"),
    "a name": (talk({**USER, "name": "Bo"}), "messages.0.name", "unsupported_parameter"),
    "no content": (talk({"role": "user"}), "messages.0.content", "missing_required_parameter"),
    "a number as content": (chat(3), "messages.0.content", "invalid_type"),
    "no parts": (chat([]), "messages.0.content", "invalid_value"),
    "a part without text": (chat([{"type": "text"}]), "messages.0.content.0.text", "missing_required_parameter"),
    "a number as text": (chat([{"type": "text", "text": 3}]), "messages.0.content.0.text", "invalid_type"),
    "sound": (chat([{"type": "input_audio", "input_audio": {}}]), "messages.0.content.0.type", "unsupported_value"),
    "video": (chat([{"type": "video_url", "video_url": {}}]), "messages.0.content.0.type", "unsupported_value"),
    "a file": (chat([{"type": "file", "file": {}}]), "messages.0.content.0.type", "unsupported_value"),
    "a refusal as a part": (chat([{"type": "refusal", "refusal": "x"}]), "messages.0.content.0.type", "unsupported_value"),
    "a picture of the system": (talk({"role": "system", "content": shown(uri())}, USER), "messages.0.content.0", "unsupported_value"),
    "three pictures": (chat(shown(uri(), uri(), uri())), "messages", "too_many_images"),
    "half a surrogate": (chat("a\ud800b"), "messages.0.content", "invalid_value"),
    "half a surrogate in a part": (chat([{"type": "text", "text": "\udfff"}]), "messages.0.content.0.text", "invalid_value"),
    "half a surrogate in a stop": (chat(stop=["\ud800"]), "stop.0", "invalid_value"),
    "too hot": (chat(temperature=2.1), "temperature", "invalid_value"),
    "no number": (chat(temperature=float("nan")), "temperature", "invalid_value"),
    "a text as a number": (chat(temperature="1"), "temperature", "invalid_type"),
    "a truth as a number": (chat(seed=True), "seed", "invalid_type"),
    "no probability": (chat(top_p=0), "top_p", "invalid_value"),
    "no tokens": (chat(max_tokens=0), "max_tokens", "invalid_value"),
    "more than the server writes": (chat(max_completion_tokens=65), "max_completion_tokens", "integer_above_max_value"),
    "two lengths": (chat(max_completion_tokens=5, max_tokens=6), "max_tokens", "invalid_value"),
    "five stops": (chat(stop=["a"] * 5), "stop", "invalid_value"),
    "an empty stop": (chat(stop=""), "stop", "invalid_value"),
    "an empty stop in a list": (chat(stop=["a", ""]), "stop.1", "invalid_value"),
    "a stop of another kind": (chat(stop=3), "stop", "invalid_type"),
    "21 logprobs": (chat(logprobs=True, top_logprobs=21), "top_logprobs", "invalid_value"),
    "top_logprobs alone": (chat(top_logprobs=1), "top_logprobs", "invalid_value"),
    "stream_options alone": (chat(stream_options={"include_usage": True}), "stream_options", "invalid_value"),
    "a seed of 65 bits": (chat(seed=2**63), "seed", "invalid_value"),
    "answers to be blocked": (chat(moderation=BLOCK), "moderation.policy.output.mode", "unsupported_value"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_kept_to_is_refused_and_the_error_says_where(name: str) -> None:
    body, param, code = BAD[name]
    refused = error(body)
    assert (refused.status, refused.param, refused.code) == (400, param, code)


@pytest.mark.parametrize("body", [chat(model="gpt"), chat(moderation={"model": "omni-moderation-latest"})])
def test_another_model_is_not_found(body: dict[str, Any]) -> None:
    refused = error({**body, "model": body["model"]})
    assert (refused.status, refused.code) == (404, "model_not_found")


def test_the_guard_cannot_be_asked_to_answer() -> None:
    assert error({**chat(), "model": "vlm_guard"}).code == "model_not_found"


def test_moderation_is_scored_unless_blocking_is_asked_for() -> None:
    policy = {"input": {"mode": "block"}, "output": {"mode": "score"}}
    asked = read(chat(moderation={"model": "vlm_guard", "policy": policy}), SETTINGS, NAMES)
    assert asked.moderation == Moderated("vlm_guard", "block")
    assert read(chat(moderation={"model": NAME}), SETTINGS, NAMES).moderation == Moderated(NAME, "score")


def test_no_error_repeats_what_was_said() -> None:
    secret = "a private matter"
    for body in (chat([{"type": "text", "text": secret, "x": secret}]), chat(shown(secret)), chat(stop=[secret] * 9),
                 chat(seed=secret), chat(temperature=secret), chat(stop={"a": secret}), chat(tools=[secret])):  # fmt: skip
        assert secret not in json.dumps(error(body).body())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=()), max_size=5), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
PART = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url"]) | JSON},
    optional={"text": JSON, "image_url": st.fixed_dictionaries({}, optional={"url": JSON, "detail": JSON}) | JSON},
)
TURN = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"]) | JSON},
    optional={"content": st.lists(PART, max_size=3) | JSON, "name": JSON, "refusal": JSON, "tool_calls": JSON},
)
BODY = st.fixed_dictionaries(
    {"model": st.just(NAME) | JSON, "messages": st.lists(TURN, max_size=4) | JSON},
    optional={name: JSON for name in ChatRequest.model_fields if name not in ("model", "messages")},
)


@given(BODY | JSON)
@settings(max_examples=400, deadline=None)
def test_whatever_is_sent_is_read_or_refused_with_an_error_that_can_be_sent(body: object) -> None:
    refused = None
    try:
        read(body, SETTINGS, NAMES)
    except WireError as error:
        refused = error
    assert refused is None or refused.status in (400, 404)
    assert refused is None or len(json.dumps(refused.body(), allow_nan=False).encode()) < 2000
