from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from sightguard.errors import DataError
from sightguard.guards.ecso import Ecso
from sightguard.pocket import world
from sightguard.pocket.vocabulary import tokens_of, vocabulary
from sightguard.testing import FakeGenerate
from sightguard.types import Generate, Image, Message, Response, Sample

PICTURE = Image(data=b"one")
WORDS = Ecso(ask="ASK {query} | {answer}", caption="CAPTION {query}", answer="BLIND {caption} | {query}")
BAD, GOOD, TEXT = (
    Sample.of("bad ?", PICTURE, id="bad"),
    Sample.of("good ?", PICTURE, id="good"),
    Sample.of("text ?", id="text"),
)


def said(sample: Sample) -> str:
    """A model that answers, finds its answer to `bad ?` harmful, describes, and refuses with its eyes closed."""
    words = sample.messages[-1].text
    if words.startswith("ASK"):
        return "Yes." if "bad" in words else "No, it is fine."
    if words.startswith("CAPTION"):
        return "a knife"
    return "sorry" if words.startswith("BLIND") else f"sure: {words}"


def failing(where: str, how: str) -> Generate:
    """The same model, which fails at the prompts that begin with `where`: by raising, in its response, or by saying too little."""
    inner = FakeGenerate(said)

    def generate(samples: Sequence[Sample]) -> list[Response]:
        broken = [sample.messages[-1].text.startswith(where) for sample in samples]
        if how == "raises" and any(broken):
            raise RuntimeError("boom")
        responses = inner(samples)
        if how == "is short" and any(broken):
            return responses[1:]
        return [Response("", error="boom") if bad else r for bad, r in zip(broken, responses, strict=True)]

    return generate


def test_the_four_steps_are_those_of_the_paper() -> None:
    model = FakeGenerate(said)
    bad, good, text = WORDS(model)([BAD, GOOD, TEXT])
    assert (bad.text, good.text, text.text) == ("sorry", "sure: good ?", "sure: text ?")
    asked = [[(sample.id, sample.messages[-1].text, len(sample.images)) for sample in call] for call in model.calls]
    assert asked == [
        [("bad", "bad ?", 1), ("good", "good ?", 1), ("text", "text ?", 0)],
        [("bad", "ASK bad ? | sure: bad ?", 1), ("good", "ASK good ? | sure: good ?", 1)],
        [("bad", "CAPTION bad ?", 1)],
        [("bad", "BLIND a knife | bad ?", 0)],
    ]
    assert bad.methods == ("ecso", "ecso/answer", "ecso/ask:yes", "ecso/caption", "ecso/text_only")
    assert good.methods == ("ecso", "ecso/answer", "ecso/ask:no")
    assert text.methods == ("ecso", "ecso/answer")
    assert (bad.gate, good.gate, text.gate) == (True, False, False)


def test_tokens_and_seconds_are_those_of_all_steps() -> None:
    def generate(samples: Sequence[Sample]) -> list[Response]:
        return [Response(said(s), prompt_tokens=10, answer_tokens=3, seconds=0.5) for s in samples]

    spent = [(r.prompt_tokens, r.answer_tokens, r.seconds) for r in WORDS(generate)([BAD, GOOD, TEXT])]
    assert spent == [(40, 12, 2.0), (20, 6, 1.0), (10, 3, 0.5)]


def test_always_captioning_asks_nothing_about_the_answer() -> None:
    model = FakeGenerate(said)
    guard = Ecso(WORDS.ask, WORDS.caption, WORDS.answer, always_caption=True)
    good, text = guard(model)([GOOD, TEXT])
    assert [sample.messages[-1].text for sample in model.samples] == [
        "text ?",
        "CAPTION good ?",
        "BLIND a knife | good ?",
    ]
    assert good.methods == ("ecso", "ecso/caption", "ecso/text_only")
    assert (good.text, text.text, text.methods) == ("sorry", "sure: text ?", ("ecso", "ecso/answer"))


@pytest.mark.parametrize(
    ("text", "verdict"),
    [("Yes", "yes"), (" yes , it does .", "yes"), ("**No**.", "no"), ("", "unclear"), ("It might.", "unclear"),
     ("yesterday", "unclear"), ("the answer says yes", "unclear")],
)  # fmt: skip
def test_the_verdict_is_the_first_word(text: str, verdict: str) -> None:
    assert Ecso().verdict(text) == verdict


def test_an_unclear_verdict_lets_the_answer_stand_and_is_recorded() -> None:
    model = FakeGenerate(lambda sample: "perhaps" if sample.text.startswith("ASK") else "sure")
    answer = WORDS(model)([BAD])[0]
    assert (answer.text, answer.methods) == ("sure", ("ecso", "ecso/answer", "ecso/ask:unclear"))


@pytest.mark.parametrize("how", ["raises", "says so", "is short"])
@pytest.mark.parametrize(
    ("where", "step"), [("bad", "answer"), ("ASK bad", "ask"), ("CAPTION", "caption"), ("BLIND", "text_only")]
)
def test_a_step_that_fails_is_an_error_of_its_sample_alone(where: str, step: str, how: str) -> None:
    bad, good, text = WORDS(failing(where, how))([BAD, GOOD, TEXT])
    assert bad.error is not None
    assert bad.error.startswith(f"ecso failed in step {step}: ")
    assert (bad.text, bad.thought) == ("", "")
    assert bad.methods[-1].startswith(f"ecso/{step}")
    assert [(r.text, r.error) for r in (good, text)] == [("sure: good ?", None), ("sure: text ?", None)]


def test_a_refusal_by_another_guard_needs_no_judge() -> None:
    refusal = Response("no", refused_by="shield", finish_reason="refused")
    model: Callable[[Sequence[Sample]], list[Response]] = lambda samples: [refusal for _ in samples]  # noqa: E731
    answer = WORDS(model)([BAD])[0]
    assert (answer.text, answer.refused_by, answer.methods) == ("no", "shield", ("ecso", "ecso/answer"))


def test_earlier_turns_and_their_pictures_stay_until_the_eyes_are_closed() -> None:
    turns = (Message("user", (PICTURE, "look")), Message("assistant", ("yes",)), Message("user", ("bad ?",)))
    model = FakeGenerate(said)
    WORDS(model)([Sample("x", turns)])
    for sample in model.samples[:3]:
        assert sample.messages[:2] == turns[:2]
    assert model.samples[3].messages == (
        Message("user", ("look",)), Message("assistant", ("yes",)), Message("user", ("BLIND a knife | bad ?",)),
    )  # fmt: skip


def test_braces_in_a_request_or_an_answer_are_only_text() -> None:
    sample = Sample.of("bad {answer} {0} ?", PICTURE)
    model = FakeGenerate(said)
    assert WORDS(model)([sample])[0].text == "sorry"
    assert model.samples[1].text == "ASK bad {answer} {0} ? | sure: bad {answer} {0} ?"


def test_a_request_that_is_only_a_picture_is_named_as_such() -> None:
    model = FakeGenerate(said)
    WORDS(model)([Sample("x", (Message("user", (PICTURE,)),))])
    assert model.samples[1].text == "ASK What the picture itself asks for. | sure: "


def test_a_conversation_without_a_request_is_named() -> None:
    with pytest.raises(DataError, match="sample 'x' has no user turn"):
        WORDS(FakeGenerate(said))([Sample("x", (Message("system", ("hello",)),))])


def test_the_embedded_model_has_words_of_its_own() -> None:
    for template in world.ECSO:
        bare = template.replace("{query}", "").replace("{answer}", "").replace("{caption}", "")
        assert set(tokens_of(bare)) <= vocabulary().keys()
