"""A row tells its text and its log probabilities once each, and of a thinking model the answer alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sightguard.engine.rows import Row
from sightguard.models.thinking import Thoughts
from sightguard.serve.job import Decoding, Done, Event, Failed, Job, Piece, Proof, TokenLogprob
from sightguard.types import Sample

LETTERS = 128
OPENED = Thoughts((ord("<"),), (ord(">"),), True)
OPENS_ITSELF = Thoughts((ord("<"), ord("t"), ord("<")), (ord(">"), ord("t"), ord(">")), False)


class Letters:
    """A tokenizer of one token per letter."""

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        return "".join(map(chr, ids))


@dataclass
class Told:
    """A row of a model that writes letters, and what was told of it."""

    thoughts: Thoughts | None
    stream: bool = True
    stop: tuple[str, ...] = ()
    events: list[Event] = field(default_factory=list)
    row: Row = field(init=False)

    def __post_init__(self) -> None:
        decoding = Decoding(max_tokens=1000, temperature=0, logprobs=True, top_logprobs=1, stop=self.stop)
        job = Job("x", Sample.of("hello", id="x"), decoding, self.events.append, stream=self.stream)
        model: Any = SimpleNamespace(
            processor=SimpleNamespace(tokenizer=Letters()), thoughts=self.thoughts, ends={0}, context=None
        )
        self.row = Row(job, model, lambda row: Proof({"text": 1, "image": 0}))

    def writes(self, text: str) -> Told:
        """Begin, or begin again, and write letters."""
        self.row.begin(3, None)
        for letter in text:
            if self.row.finish is None and not self.row.over:
                self.row.scores = torch.zeros(LETTERS)
                self.row.push(ord(letter))
        return self

    def ends(self) -> Told:
        self.row.close()
        assert isinstance(self.events[-1], Done | Failed)
        return self

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Piece))

    @property
    def marks(self) -> list[TokenLogprob]:
        return [mark for event in self.events if isinstance(event, Piece) for mark in event.logprobs]

    @property
    def marked(self) -> str:
        """The letters whose log probabilities were told; the alternatives of each are its neighbours at the same place."""
        return "".join(mark.chosen.token for mark in self.marks)


WAYS = pytest.mark.parametrize(
    ("stream", "stop"),
    [(False, ()), (False, ("|",)), (True, ()), (True, ("|",))],
    ids=["whole", "stops", "streamed", "both"],
)


@WAYS
def test_the_logprobs_of_a_thinking_model_are_those_of_its_answer(stream: bool, stop: tuple[str, ...]) -> None:
    for thoughts, written in ((OPENED, "secret>hello"), (OPENS_ITSELF, "<t<secret>t>hello")):
        told = Told(thoughts, stream, stop).writes(written).ends()
        assert (told.text, told.marked) == ("hello", "hello")


@WAYS
def test_thoughts_that_never_end_have_neither_text_nor_logprobs(stream: bool, stop: tuple[str, ...]) -> None:
    for thoughts, written in ((OPENED, "secret"), (OPENS_ITSELF, "<t<secret")):
        told = Told(thoughts, stream, stop).writes(written).ends()
        assert (told.text, told.marked) == ("", "")


@WAYS
def test_a_model_that_may_think_and_did_not_has_all_of_them(stream: bool, stop: tuple[str, ...]) -> None:
    told = Told(OPENS_ITSELF, stream, stop).writes("a <tea <").ends()
    assert (told.text, told.marked) == ("a <tea <", "a <tea <")


def test_a_stop_string_among_thoughts_stops_nothing_and_behind_them_does() -> None:
    for stream in (False, True):
        told = Told(OPENED, stream, ("|",)).writes("a|b>he|llo").ends()
        assert (told.text, told.marked) == ("he", "he")


@given(st.text("<t>ab", max_size=12), st.booleans())
def test_streamed_or_not_what_is_told_of_thoughts_is_nothing(written: str, opened: bool) -> None:
    thoughts = Thoughts(OPENS_ITSELF.open, OPENS_ITSELF.close, opened)
    answer = "".join(map(chr, thoughts.split([ord(letter) for letter in written])[1]))
    whole = Told(thoughts, stream=False).writes(written).ends()
    assert (whole.text, whole.marked) == (answer, answer)
    streamed = Told(thoughts).writes(written).ends()
    assert streamed.text == streamed.marked
    # what stood before thoughts that began late has left a stream already
    assert streamed.text in {answer, re.split("<t<|>t>", written)[0] + answer}


@pytest.mark.parametrize("thoughts", [None, OPENED], ids=["plain", "thinking"])
def test_a_second_attempt_repeats_neither_text_nor_logprobs(thoughts: Thoughts | None) -> None:
    before = "" if thoughts is None else "secret>"
    told = Told(thoughts).writes(before + "hel").writes(before + "hello").ends()
    assert (told.text, told.marked) == ("hello", "hello")
    told = Told(thoughts).writes(before + "hello").writes(before + "he").writes(before + "hello you").ends()
    assert (told.text, told.marked) == ("hello you", "hello you")
