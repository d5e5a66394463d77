from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import ModerationCreateResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.moderation import Categories as Official
from openai.types.moderation import CategoryAppliedInputTypes

from sightguard.data.taxonomy import Taxonomy, published, read_taxonomy
from sightguard.pocket.risks import TAXONOMY as POCKET
from sightguard.serve.job import Done, Inspection, LayerGate, Piece, Proof
from sightguard.serve.wire import proof
from sightguard.serve.wire.answers import Chunks, Stamp, completion
from sightguard.serve.wire.categories import categories
from sightguard.serve.wire.chat import Moderated
from sightguard.serve.wire.errors import WireError
from sightguard.serve.wire.in_chat import blocks, moderation
from sightguard.serve.wire.moderations import Inputs, read, response
from sightguard.serve.wire.results import result
from sightguard.types import Image, Risk
from tests.conftest import ROOT
from tests.serve.wire.made import GUARD, NAME, PROOF, SETTINGS, encoded, risk, shown, uri

BOTH = {"text": 1, "image": 1}
SEEN = Inspection(BOTH, risk())
FIRED = (LayerGate(3, 0.75, 0.5, True),)
QUIET = (LayerGate(3, 0.25, 0.5, False),)
INSPECTORS = ROOT / "src" / "sightguard" / "audit" / "inspectors"


def taxonomies() -> list[Taxonomy]:
    return [published(), POCKET, *map(read_taxonomy, sorted(INSPECTORS.glob("*.yaml")))]


def aliases(shape: Any) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in shape.model_fields.items()}


def whole(found: Inspection, received: dict[str, int]) -> dict[str, Any]:
    """A response that the official client takes, as its first result."""
    body = json.loads(json.dumps(response("modr-1", NAME, Inputs((), (received,)), [found]), allow_nan=False))
    ModerationCreateResponse.model_validate(body, strict=True)
    one: dict[str, Any] = body["results"][0]
    return one


def test_the_standard_keys_and_their_kinds_of_input_are_those_of_the_official_client() -> None:
    table = categories().standard
    assert set(table) == set(aliases(Official))
    for key, kinds in aliases(CategoryAppliedInputTypes).items():
        assert set(table[key]) == set(kinds.__args__[0].__args__)


def test_every_type_of_every_taxonomy_has_its_line_and_no_line_is_for_nothing() -> None:
    known = {name for taxonomy in taxonomies() for name in taxonomy.risks}
    assert set(categories().keys) == known
    assert all(set(keys) <= set(categories().standard) for keys in categories().keys.values())
    assert all(categories().why.values())


def test_a_risky_picture_is_flagged_under_its_own_type_and_the_standard_key_of_that_type() -> None:
    found = whole(Inspection(BOTH, risk("illegal", 3, 0.75)), BOTH)
    assert found["flagged"]
    flagged = {name for name, value in found["categories"].items() if value}
    assert flagged == {"illicit", "sightguard/risk/illegal", "sightguard/unsafe"}
    assert found["category_scores"]["illicit"] == 0.25
    assert found["category_scores"]["sightguard/risk/privacy"] == 0.5
    assert found["category_scores"]["sightguard/unsafe"] == 0.75
    assert "sightguard/risk/safe" not in found["categories"]
    assert found["category_applied_input_types"]["illicit"] == ["text"]
    assert found["category_applied_input_types"]["sightguard/unsafe"] == ["text", "image"]
    assert found["sightguard"]["parts"] == {"received": BOTH, "inspected": BOTH}


def test_a_key_that_nobody_looked_for_is_zero_and_says_that_nobody_looked() -> None:
    found = whole(SEEN, BOTH)
    for key in set(categories().standard) - {"illicit"}:
        assert (found["categories"][key], found["category_scores"][key]) == (False, 0.0)
        assert found["category_applied_input_types"][key] == []
    assert found["category_applied_input_types"]["illicit"] == ["text"]


def test_a_key_that_is_for_texts_alone_says_nothing_of_a_picture_alone() -> None:
    found = whole(Inspection({"image": 1}, risk("illegal", 3, 0.9)), {"text": 0, "image": 1})
    assert (found["categories"]["illicit"], found["category_scores"]["illicit"]) == (False, 0.0)
    assert found["category_applied_input_types"]["illicit"] == []
    assert found["categories"]["sightguard/risk/illegal"]
    assert found["flagged"]


def test_types_under_one_key_add_up() -> None:
    spread = {"fraud": 0.5, "cyber": 0.25, "safe": 0.25}
    found = whole(Inspection(BOTH, Risk("fraud", 3, 0.75, spread, {"fraud": 3, "cyber": 2, "safe": 0})), BOTH)
    assert found["category_scores"]["illicit"] == 0.75
    assert found["categories"]["illicit"]


def test_a_safe_picture_is_not_flagged() -> None:
    found = whole(Inspection(BOTH, risk("safe", 0, 0.25), QUIET), BOTH)
    assert not found["flagged"]
    assert not any(found["categories"].values())


@pytest.mark.parametrize("p_unsafe", [0.5, 0.9, float("nan")])
def test_what_is_rather_unsafe_than_safe_is_flagged_though_no_single_type_is_likeliest(p_unsafe: float) -> None:
    found = whole(Inspection(BOTH, risk("safe", 0, p_unsafe)), BOTH)
    assert {name for name, value in found["categories"].items() if value} == {"sightguard/unsafe"}
    assert found["flagged"]


def test_a_gate_that_fired_is_a_category_of_its_own() -> None:
    found = whole(Inspection({"text": 1}, None, FIRED), {"text": 1, "image": 0})
    assert found["flagged"]
    assert found["categories"]["sightguard/harmful_request"]
    assert found["category_applied_input_types"]["sightguard/harmful_request"] == ["text"]
    quiet = whole(Inspection({"text": 1}, None, QUIET), {"text": 1, "image": 0})
    assert (quiet["flagged"], quiet["categories"]["sightguard/harmful_request"]) == (False, False)


@pytest.mark.parametrize(
    ("found", "received"),
    [
        (Inspection({}), {"text": 1, "image": 0}),
        (Inspection({"text": 0, "image": 0}, risk(), FIRED), {"text": 1, "image": 0}),
        (Inspection({"text": 1}), {"text": 1, "image": 0}),
        (Inspection({"text": 1}, None, QUIET), BOTH),
        (Inspection({"text": 1, "image": 1}, risk()), {"text": 1, "image": 2}),
        (Inspection({"text": 1, "image": 1}, risk()), {"text": 2, "image": 1}),
    ],
)
def test_what_nobody_looked_at_is_an_error_and_never_not_flagged(found: Inspection, received: dict[str, int]) -> None:
    with pytest.raises(WireError) as raised:
        result(found, received)
    assert (raised.value.status, raised.value.code) == (400, "not_inspected")


def test_of_several_inputs_the_one_that_nobody_looked_at_is_named() -> None:
    inputs = read({"input": ["a", "b"]}, SETTINGS, [NAME])
    with pytest.raises(WireError) as raised:
        response("modr-1", NAME, inputs, [Inspection({"text": 1}, None, QUIET), Inspection({})])
    assert raised.value.param == "input.1"


def test_a_text_is_one_input_texts_are_several_and_parts_are_one() -> None:
    assert [s.text for s in read({"input": "a"}, SETTINGS, [NAME]).samples] == ["a"]
    several = read({"input": ["a", "b"], "model": NAME}, SETTINGS, [NAME], id="7")
    assert [(s.id, s.text) for s in several.samples] == [("7/0", "a"), ("7/1", "b")]
    parts = read({"input": shown(uri())}, SETTINGS, [NAME])
    assert parts.samples[0].messages[0].parts == (Image(data=encoded()), "What is this?")
    assert parts.received == (BOTH,)


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "input", "missing_required_parameter"),
        ({"input": []}, "input", "invalid_value"),
        ({"input": 3}, "input", "invalid_type"),
        ({"input": ["a", 3]}, "input.1", "invalid_type"),
        ({"input": ["a", {"type": "text", "text": "b"}]}, "input.1", "invalid_type"),
        ({"input": [{"type": "text", "text": "b"}, "a"]}, "input.1", "invalid_type"),
        ({"input": [{"type": "input_audio"}]}, "input.0.type", "unsupported_value"),
        ({"input": "\ud800"}, "input", "invalid_value"),
        ({"input": ["a"] * 1025}, "input", "invalid_value"),
        ({"input": "a", "guard": 1}, "guard", "unknown_parameter"),
        ({"input": "a", "model": "omni-moderation-latest"}, "model", "model_not_found"),
        ({"input": shown(uri(), uri(), uri())}, "input", "too_many_images"),
        ({"input": shown(uri(b"x"))}, "input.0.image_url.url", "invalid_image"),
        ({"input": shown("http://x/y")}, "input.0.image_url.url", "image_url_not_allowed"),
    ],
)
def test_what_cannot_be_read_is_refused(body: object, param: str, code: str) -> None:
    with pytest.raises(WireError) as raised:
        read(body, SETTINGS, [NAME])
    assert (raised.value.param, raised.value.code) == (param, code)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["input", "model", "type", "text", "x"]), inner),
        max_leaves=6,
    )
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_whatever_is_sent_is_read_or_refused(body: object) -> None:
    for sent in (body, {"input": body}, {"input": [body]}):
        try:
            read(sent, SETTINGS, [NAME])
        except WireError as refused:
            json.dumps(refused.body(), allow_nan=False).encode()


def test_in_a_chat_the_request_is_scored_and_the_answer_says_that_it_was_not_inspected() -> None:
    block = moderation(Moderated(NAME), PROOF, BOTH)
    answer = proof.block(GUARD, BOTH, PROOF)
    stamp = Stamp("chatcmpl-1", 1, NAME)
    body = completion(stamp, [Piece("Hi")], Done("stop", 1, 1), answer, moderation=block)
    read_back = ChatCompletion.model_validate(json.loads(json.dumps(body)), strict=True).moderation
    assert read_back is not None
    assert read_back.input.type == "moderation_results"
    assert read_back.input.results[0].flagged
    assert read_back.input.results[0].categories["sightguard/harmful_request"]
    assert read_back.output.type == "error"
    assert read_back.output.code == "not_inspected"
    opening = ChatCompletionChunk.model_validate(Chunks(stamp).opening(answer, block), strict=True)
    assert opening.moderation is not None


def test_a_request_that_asks_to_be_blocked_is_blocked_when_flagged_and_when_nobody_looked() -> None:
    score, block = Moderated(NAME), Moderated(NAME, "block")
    safe = replace(PROOF, risk=risk("safe", 0, 0.1), gate=QUIET)
    for wanted, seen, expected in (
        (block, PROOF, True),
        (block, safe, False),
        (block, None, True),
        (block, Proof(inspected={"text": 1}), True),
        (score, PROOF, False),
        (score, None, False),
    ):
        assert blocks(wanted, moderation(wanted, seen, BOTH)) is expected
    assert blocks(None, None) is False
    assert blocks(block, None) is True
