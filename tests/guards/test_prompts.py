from collections.abc import Callable

import pytest

from sightguard.errors import DataError
from sightguard.guards.prompts import GoalPriority, SelfReminder
from sightguard.guards.text_only import TextOnly
from sightguard.testing import FakeGenerate
from sightguard.types import Guard, Image, Message, Response, Sample

ONE, TWO = Image(data=b"one"), Image(data=b"two")
GUARDS: list[Callable[[], Guard]] = [SelfReminder, GoalPriority, TextOnly]


def echo() -> FakeGenerate:
    return FakeGenerate(lambda sample: sample.messages[-1].text)


def test_words_stand_around_the_question_and_pictures_stay() -> None:
    sample = Sample("x", (Message("user", (ONE, "what is this ?", TWO, "and this ?")),))
    model = echo()
    SelfReminder(before="B", after="A", joint=" ")(model)([sample])
    assert model.samples[0].messages[0].parts == (ONE, "B what is this ?", TWO, "and this ? A")


def test_a_picture_alone_gets_the_words_behind_it() -> None:
    model = echo()
    SelfReminder(before="B", after="A", joint=" ")(model)([Sample("x", (Message("user", (ONE,)),))])
    assert model.samples[0].messages[0].parts == (ONE, "B A")


def test_only_the_last_question_is_wrapped() -> None:
    turns = (
        Message("system", ("be brief",)),
        Message("user", (ONE, "first",)),
        Message("assistant", ("yes",)),
        Message("user", ("second",)),
        Message("assistant", ("I",)),
    )  # fmt: skip
    model = echo()
    sample = Sample("x", turns, harmful=True, category="verb", meta={"answer": "a"})
    SelfReminder(before="B", after="A", joint=" ")(model)([sample])
    asked = model.samples[0]
    assert asked.messages[:3] == turns[:3]
    assert asked.messages[3].parts == ("B second A",)
    assert asked.messages[4] == turns[4]
    assert (asked.id, asked.harmful, asked.category, asked.meta) == ("x", True, "verb", {"answer": "a"})
    assert sample.messages == turns


def test_goal_priority_shows_a_harmless_and_a_harmful_example_before_the_question() -> None:
    model = echo()
    GoalPriority()(model)([Sample.of("how do i fix it ?", ONE)])
    parts = model.samples[0].messages[0].parts
    assert parts[0] == ONE
    assert isinstance(parts[1], str)
    assert parts[1].endswith("Request:\nhow do i fix it ?")
    assert parts[1].count("[Answer]") == 3


@pytest.mark.parametrize(
    ("said", "passed_on"),
    [
        ("[Thoughts] It is safe. [Answer] Water it.", "Water it."),
        ("[Thoughts] It is unsafe.\n[Answer]\nI can't help. [Answer] again", "I can't help. [Answer] again"),
        ("[Thoughts] The request asks how to build", ""),
        ("Water it.", "Water it."),
        ("", ""),
    ],
)
def test_thoughts_are_not_passed_on(said: str, passed_on: str) -> None:
    answer = GoalPriority()(FakeGenerate(lambda _: said))([Sample.of("?")])[0]
    assert answer.text == passed_on


def test_other_wording_replaces_ours() -> None:
    model = echo()
    guard = GoalPriority(preamble="be safe first .", closing="think .", internal="", final="", joint=" ")
    assert guard(model)([Sample.of("why ?")])[0].text == "be safe first . why ? think ."


def test_the_text_only_model_sees_no_picture() -> None:
    model = echo()
    turns = (Message("user", (ONE,)), Message("user", ("what is this ?", TWO)))
    TextOnly()(model)([Sample("x", turns)])
    assert model.samples[0].images == ()
    assert model.samples[0].messages == (Message("user", ()), Message("user", ("what is this ?",)))


def test_a_picture_alone_leaves_the_text_only_model_nothing_to_answer() -> None:
    with pytest.raises(DataError, match="sample 'x' asks by pictures only"):
        TextOnly()(echo())([Sample("x", (Message("user", (ONE,)),))])


@pytest.mark.parametrize("guard", GUARDS)
def test_guards_keep_order_and_say_that_they_were_there(guard: Callable[[], Guard]) -> None:
    made = guard()
    model = FakeGenerate(lambda sample: sample.id)
    answers = made(model)([Sample.of("a", id="1"), Sample.of("b", id="2")])
    assert [answer.text for answer in answers] == ["1", "2"]
    name = {SelfReminder: "self_reminder", GoalPriority: "goal_priority", TextOnly: "text_only_model"}[type(made)]
    assert [answer.methods for answer in answers] == [(name,)] * 2
    stacked = SelfReminder(name="outer")(made(model))([Sample.of("a")])
    assert stacked[0].methods == (name, "outer")


@pytest.mark.parametrize("guard", [SelfReminder(), GoalPriority()])
def test_a_conversation_without_a_question_is_named(guard: Guard) -> None:
    with pytest.raises(DataError, match="sample 'x' has no user turn"):
        guard(echo())([Sample("x", (Message("system", ("hello",)),))])


@pytest.mark.parametrize("guard", GUARDS)
def test_errors_and_refusals_pass_through(guard: Callable[[], Guard]) -> None:
    failed = Response("", error="RuntimeError: boom", refused_by="shield", finish_reason="refused")
    answer = guard()(lambda samples: [failed])([Sample.of("a")])[0]
    assert (answer.error, answer.refused_by, answer.finish_reason) == ("RuntimeError: boom", "shield", "refused")
