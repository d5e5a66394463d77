from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from sightguard.serve.job import Alternative, Done, GuardId, LayerGate, Piece, Proof, TokenLogprob
from sightguard.serve.wire import proof
from sightguard.serve.wire.answers import LEAST, Chunks, Stamp, completion, refusal
from sightguard.serve.wire.refusals import WORDS
from tests.serve.wire.made import GUARD, NAME, PROOF, risk

STAMP = Stamp("chatcmpl-1", 1_700_000_000, NAME)
RECEIVED = {"text": 1, "image": 1}
BLOCK = proof.block(GUARD, RECEIVED, PROOF)
LIKELY = Alternative("cat", (99, 97, 116), -0.25)
PIECES = (
    Piece("A ", (TokenLogprob(Alternative("A ", (65, 32), -0.5), (LIKELY,)),)),
    Piece("cat", (TokenLogprob(LIKELY, (LIKELY, Alternative("dog", (), float("-inf")))),)),
)
DONE = Done("stop", 11, 2)


def sent(body: dict[str, Any]) -> dict[str, Any]:
    """What arrives: it must be JSON that every client reads."""
    arrived: dict[str, Any] = json.loads(json.dumps(body, allow_nan=False))
    return arrived


def test_an_answer_is_what_the_official_client_expects() -> None:
    body = sent(completion(STAMP, PIECES, DONE, BLOCK, logprobs=True))
    read = ChatCompletion.model_validate(body, strict=True)
    assert read.choices[0].message.content == "A cat"
    assert read.choices[0].message.refusal is None
    assert read.choices[0].finish_reason == "stop"
    assert read.usage is not None
    assert (read.usage.prompt_tokens, read.usage.completion_tokens, read.usage.total_tokens) == (11, 2, 13)
    assert read.choices[0].logprobs is not None
    tokens = read.choices[0].logprobs.content
    assert tokens is not None
    assert [(t.token, t.bytes, t.logprob) for t in tokens] == [("A ", [65, 32], -0.5), ("cat", [99, 97, 116], -0.25)]
    assert [top.logprob for top in tokens[1].top_logprobs] == [-0.25, LEAST]
    assert body["sightguard"] == BLOCK


def test_log_probabilities_that_nobody_asked_for_are_not_sent() -> None:
    assert completion(STAMP, PIECES, DONE, BLOCK)["choices"][0]["logprobs"] is None
    assert Chunks(STAMP).piece(PIECES[0])["choices"][0]["logprobs"] is None


@pytest.mark.parametrize("reason", WORDS)
def test_a_refusal_holds_nothing_of_the_model(reason: Any) -> None:
    body = sent(refusal(STAMP, WORDS[reason], proof.block(GUARD, RECEIVED, None, rule=reason)))
    read = ChatCompletion.model_validate(body, strict=True)
    choice = read.choices[0]
    assert (choice.message.content, choice.message.refusal) == (None, WORDS[reason])
    assert choice.finish_reason == "content_filter"
    assert body["sightguard"]["rule"] == reason
    assert body["sightguard"]["parts"] == {"received": RECEIVED, "inspected": {"text": 0, "image": 0}}


@pytest.mark.parametrize("include_usage", [False, True])
def test_a_stream_joins_to_the_answer(include_usage: bool) -> None:
    chunks = Chunks(STAMP, include_usage, logprobs=True)
    bodies = [chunks.opening(BLOCK), *map(chunks.piece, PIECES), chunks.closing("stop")]
    if include_usage:
        bodies.append(chunks.last(11, 2))
    arrived = [sent(body) for body in bodies]
    read = [ChatCompletionChunk.model_validate(body, strict=True) for body in arrived]
    choices = [choice for chunk in read for choice in chunk.choices]
    assert choices[0].delta.role == "assistant"
    assert "".join(choice.delta.content or "" for choice in choices) == "A cat"
    assert [choice.finish_reason for choice in choices] == [None, None, None, "stop"]
    tokens = [t for choice in choices if choice.logprobs for t in choice.logprobs.content or []]
    assert [token.token for token in tokens] == ["A ", "cat"]
    assert [chunk.usage is not None for chunk in read] == ([False] * 4 + [True] if include_usage else [False] * 4)
    assert all(("usage" in body) == include_usage for body in arrived)
    assert arrived[0]["sightguard"] == BLOCK
    assert all(body["id"] == STAMP.id and body["model"] == NAME for body in arrived)
    if include_usage:
        assert read[-1].choices == []


def test_a_refusal_in_a_stream_is_a_refusal() -> None:
    chunks = Chunks(STAMP)
    bodies = [chunks.opening(BLOCK), chunks.refused("No."), chunks.closing("content_filter")]
    read = [ChatCompletionChunk.model_validate(sent(body), strict=True).choices[0] for body in bodies]
    assert "".join(choice.delta.refusal or "" for choice in read) == "No."
    assert "".join(choice.delta.content or "" for choice in read) == ""
    assert read[-1].finish_reason == "content_filter"


def test_the_block_says_what_was_inspected_and_seen() -> None:
    assert BLOCK == {
        "guard": {"id": "vlm_guard", "sha256": "ab" * 32},
        "parts": {"received": {"text": 1, "image": 1}, "inspected": {"text": 1, "image": 1}},
        "verdict": {"type": "privacy", "level": 2, "p_unsafe": 0.75},
        "gate": {
            "score": 0.75,
            "threshold": 0.5,
            "fired": True,
            "layers": [
                {"layer": 3, "score": 0.25, "threshold": 0.5, "fired": False},
                {"layer": 5, "score": 0.75, "threshold": 0.5, "fired": True},
            ],
        },
        "rule": "privacy/2:may_refuse",
        "methods": ["vlm_guard"],
    }
    bare = proof.block(GUARD, {"text": 1}, Proof(inspected={"text": 1}))
    assert (bare["verdict"], bare["gate"], bare["rule"], bare["methods"]) == (None, None, None, [])


def test_the_gate_as_a_whole_is_that_of_the_largest_margin_and_fires_if_any_layer_does() -> None:
    layers = (LayerGate(1, 9.0, 9.5, False), LayerGate(2, 1.0, 0.5, False), LayerGate(3, 0.0, 5.0, True))
    gate = proof.gate(layers)
    assert gate is not None
    assert (gate["score"], gate["threshold"], gate["fired"]) == (1.0, 0.5, True)
    unknown = proof.gate((LayerGate(1, float("nan"), 0.5, False), LayerGate(2, 0.25, 0.5, False)))
    assert unknown is not None
    assert (unknown["score"], unknown["layers"][0]["score"]) == (0.25, None)


def test_the_header_is_the_block_in_one_line_without_the_layers() -> None:
    line = proof.header(BLOCK)
    expected = json.loads(json.dumps(BLOCK))
    del expected["gate"]["layers"]
    assert json.loads(line) == expected
    assert "layers" in BLOCK["gate"]


def test_the_header_is_one_short_line_of_ascii_whatever_the_names_are() -> None:
    odd = 'é\r\nSet-Cookie: a=b\x7f"\\' + "x" * 10_000
    seen = replace(PROOF, methods=(odd,) * 1000, rule=odd, risk=risk(type=odd))
    line = proof.header(proof.block(GuardId(odd, odd), RECEIVED, seen))
    assert len(line) <= 2048
    assert all(" " <= letter <= "~" for letter in line)
    assert json.loads(line)["methods"][-1] == "+992"


def test_parts_that_were_received_and_not_inspected_are_named() -> None:
    assert proof.uninspected(RECEIVED, PROOF) == []
    assert proof.uninspected({"text": 1, "image": 2}, PROOF) == ["image"]
    assert proof.uninspected({"text": 0, "image": 0}, Proof(inspected={})) == []
    assert proof.uninspected(RECEIVED, Proof(inspected={})) == ["text", "image"]
