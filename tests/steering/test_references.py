from __future__ import annotations

import pytest
import torch

from sightguard.errors import DataError, UsageError
from sightguard.models.states import text_states
from sightguard.models.vlm import VLM
from sightguard.steering.activations import capture
from sightguard.steering.memory import REMEMBERED, Memory
from sightguard.steering.method import Reading, text_rows
from sightguard.steering.references import caption_rows, query_states
from sightguard.steering.steer import steer
from sightguard.types import Image, Message, Sample
from tests import tiny

PROMPT = "what is this ?"


@pytest.fixture(scope="module")
def vlm() -> VLM:
    return tiny.vlm()


def reading(vlm: VLM, samples: list[Sample], memory: Memory | None = None) -> Reading:
    return Reading(vlm.anatomy, vlm.pad, tuple(text_rows(vlm, samples)), tuple(samples), vlm, memory or Memory())


def words(vlm: VLM, row: tuple[int, ...]) -> str:
    return str(vlm.processor.tokenizer.decode(row))


def answer(vlm: VLM, picture: Image) -> str:
    """What the model says of a picture when asked by hand."""
    return vlm.generate([Sample.of(PROMPT, picture)])[0].text


def test_the_text_only_query_is_the_conversation_without_its_pictures(vlm: VLM) -> None:
    pictured = Sample.of("how do i find it ?", tiny.picture(1), tiny.picture(2))
    row, bare = text_rows(vlm, [pictured, Sample.of("how do i find it ?")])
    assert row == bare
    assert words(vlm, row) == "user: how do i find it ? assistant:"


def test_a_turn_that_is_only_a_picture_has_no_text_only_query(vlm: VLM) -> None:
    only = Sample(id="only", messages=(Message("user", (tiny.picture(),)),))
    later = Sample(
        id="later",
        messages=(Message("user", ("hello",)), Message("assistant", ("yes ?",)), Message("user", (tiny.picture(),))),
    )
    assert text_rows(vlm, [only, Sample.of("hi"), later])[::2] == [(), ()]
    with pytest.raises(DataError, match="sample 'later' has no text"):
        capture(vlm, [later], images=False)


def test_each_distinct_query_is_read_once_and_never_again(vlm: VLM) -> None:
    memory = Memory()
    rows = text_rows(vlm, [Sample.of("a"), Sample.of("b"), Sample.of("a", tiny.picture())])
    states = query_states(reading(vlm, [], memory), rows, (1, 2))
    assert memory.reads == 2
    torch.testing.assert_close(states, text_states(vlm.anatomy, rows, (1, 2), pad=vlm.pad))
    assert torch.equal(query_states(reading(vlm, [], memory), rows[::-1], (1, 2)), states.flip(1))
    assert memory.reads == 2
    query_states(reading(vlm, [], memory), rows, (3,))
    assert memory.reads == 4, "other layers are other states"


def test_a_guard_reads_each_prompt_once_over_beams_and_calls(vlm: VLM) -> None:
    safe = steer(vlm, tiny.guard(vlm))
    samples = [Sample.of("a", tiny.picture(1)), Sample.of("a", tiny.picture(2)), Sample.of("b")]
    safe.generate(samples, num_beams=3)
    assert safe.memory.reads == 2
    safe(samples)
    assert safe.memory.reads == 2


def test_memory_is_shared_where_it_is_given_and_bounded() -> None:
    memory = Memory()
    for i in range(REMEMBERED + 3):
        memory.captions["x", str(i)] = ""
    memory.forget()
    assert len(memory.captions) == REMEMBERED
    assert ("x", "2") not in memory.captions
    memory.clear()
    assert not memory.captions


def test_the_caption_reference_holds_what_the_model_itself_says(vlm: VLM) -> None:
    memory, picture = Memory(), tiny.picture(1)
    said = answer(vlm, picture)
    assert len(said) > 1
    asked = Sample(id="x", messages=(Message("user", ("this:", picture, "how ?")),))
    [row] = caption_rows(reading(vlm, [asked], memory), PROMPT)
    assert words(vlm, row) == f"user: this: {said} how ? assistant:"
    assert memory.reads == 1
    assert len({answer(vlm, tiny.picture(i)) for i in range(8)}) >= 5, "captions hardly differ, so this shows nothing"


def test_each_picture_stands_where_its_caption_goes_and_is_read_once(vlm: VLM) -> None:
    memory, one, two = Memory(), tiny.picture(1), tiny.picture(2)
    samples = [Sample.of("a", one, two), Sample.of("b", two, one), Sample.of("c")]
    rows = caption_rows(reading(vlm, samples, memory), PROMPT)
    first, second = answer(vlm, one), answer(vlm, two)
    assert [words(vlm, row) for row in rows] == [
        f"user: {first} {second} a assistant:",
        f"user: {second} {first} b assistant:",
        "user: c assistant:",
    ]
    assert memory.reads == 2
    caption_rows(reading(vlm, samples, memory), PROMPT)
    assert memory.reads == 2
    caption_rows(reading(vlm, samples, memory), "and this ?")
    assert memory.reads == 4, "another question is another caption"


def test_a_guard_by_caption_uses_the_state_of_the_captioned_query(vlm: VLM) -> None:
    guard = tiny.guard(vlm, reference="caption", caption_prompt=PROMPT, layers=[1], m=2)
    samples = [Sample.of("how ?", tiny.picture(i)) for i in range(5)]
    captioned = [Sample.of(f"{answer(vlm, sample.images[0])} how ?") for sample in samples]
    expected = capture(vlm, captioned, layers=[1], images=False)[0] @ guard.directions.at([1], 2)[0].T
    steered = steer(vlm, guard).states(samples, [1])[0] @ guard.directions.at([1], 2)[0].T
    torch.testing.assert_close(steered, expected, rtol=1e-4, atol=1e-4)


def test_only_prompts_without_words_are_captioned_for_the_text_reference(vlm: VLM) -> None:
    only = Sample(id="only", messages=(Message("user", (tiny.picture(1),)),))
    samples = [Sample.of("how ?", tiny.picture(2)), only, Sample.of("why ?")]
    guard = tiny.guard(vlm, caption_prompt=PROMPT, layers=[1], m=2)
    safe = steer(vlm, guard)
    states = safe.states(samples, [1])[0] @ guard.directions.at([1], 2)[0].T
    spoken = [Sample.of("how ?"), Sample.of(answer(vlm, tiny.picture(1))), Sample.of("why ?")]
    expected = capture(vlm, spoken, layers=[1], images=False)[0] @ guard.directions.at([1], 2)[0].T
    torch.testing.assert_close(states, expected, rtol=1e-4, atol=1e-4)
    assert safe.memory.reads == 4, "three queries and one picture"


def test_a_bare_model_has_no_pictures_to_caption(vlm: VLM) -> None:
    inputs = vlm.encode([Sample.of("how ?", tiny.picture())]).inputs
    guard = tiny.guard(vlm, reference="caption")
    vlm.model(**inputs, output_hidden_states=True)  # transformers hangs its own hooks on here, for good
    before = tiny.hooks(vlm.model)
    with (
        guard.on(vlm),
        pytest.raises(UsageError, match=r"caption reference needs the conversation .* reference='text'"),
    ):
        vlm.model.generate(**inputs, max_new_tokens=2)
    assert tiny.hooks(vlm.model) == before
