"""Thoughts in the text of a remote answer are cut before a judge reads it."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightguard.evaluate.judges import RefusalPhrases
from sightguard.evaluate.thoughts import split, without_thoughts
from sightguard.models.layouts import THOUGHT_TAGS
from sightguard.types import Response, Sample


@pytest.mark.parametrize(
    ("text", "thoughts", "answer"),
    [
        ("<think>a</think>b", "a", "b"),
        ("\n<THINK>\na\n</Think>\n\nb", "a", "b"),
        ("a</think>b", "a", "b"),
        ("<think>a", "a", ""),
        ("<think></think>b", "", "b"),
        ("<think>a</think><think>b</think>c", "a\nb", "c"),
        ("<think>a</think>b</think>c", "a\nb", "c"),
        ("<thinking>a</thinking> b", "a", "b"),
        ("[THINK]a[/THINK]b", "a", "b"),
        ("plain\n ", "", "plain\n "),
        ("The tag <think> opens and </think> closes.", "", "The tag <think> opens and </think> closes."),
        ("", "", ""),
    ],
)
def test_thoughts_are_told_from_the_answer(text: str, thoughts: str, answer: str) -> None:
    assert split(text) == (thoughts, answer)


def test_an_answer_is_judged_without_its_thoughts() -> None:
    judge, ask = RefusalPhrases(), Sample.of("?")
    assert judge(ask, Response("<think>I can't help with that.</think>It is a cat.")).outcome == "complied"
    assert judge(ask, Response("<think>It is a cat.</think>I can't help with that.")).outcome == "refused"
    unfinished = judge(ask, Response("<think>It is a cat and so I"))
    assert (unfinished.outcome, unfinished.reason) == ("broken", "thoughts without an answer")


def test_thoughts_join_those_that_were_apart_already() -> None:
    response = Response("<think>b</think>c", thought="a")
    assert without_thoughts(response) == Response("c", thought="a\nb")
    plain = Response("c", thought="a")
    assert without_thoughts(plain) is plain


def cut_one_by_one(text: str) -> tuple[str, str]:
    """The definition: cut the first thoughts, and look at the rest as if it were the whole; it takes the square of the length."""

    def find(tag: str, text: str) -> re.Match[str] | None:
        return re.search(re.escape(tag), text, re.IGNORECASE)

    def first(text: str) -> tuple[str, str] | None:
        begins = text.lstrip()
        for before, after in THOUGHT_TAGS:
            opened = find(before, begins)
            if opened is not None and opened.start() == 0:
                closed = find(after, begins)
                if closed is None:
                    return begins[opened.end() :], ""
                return begins[opened.end() : closed.start()], begins[closed.end() :]
        for before, after in THOUGHT_TAGS:
            closed = find(after, begins)
            if closed is not None and find(before, begins[: closed.start()]) is None:
                return begins[: closed.start()], begins[closed.end() :]
        return None

    thoughts: list[str] = []
    rest = text
    while (found := first(rest)) is not None:
        thought, rest = found
        thoughts.append(thought.strip())
    return "\n".join(thought for thought in thoughts if thought), rest.strip() if thoughts else text


TAGS = [tag for pair in THOUGHT_TAGS for tag in pair]
PIECES = st.sampled_from(
    [
        *TAGS,
        *map(str.upper, TAGS),
        "</thin\u212a>",
        "<",
        "</",
        ">",
        "[",
        "think>",
        " ",
        "\n",
        "\u2003",
        "\x1c",
        "a",
        "b ",
    ]
)


@given(st.lists(PIECES, max_size=14).map("".join))
def test_thoughts_are_those_that_are_cut_one_by_one(text: str) -> None:
    assert split(text) == cut_one_by_one(text)


@pytest.mark.parametrize("piece", ["</think>", "<think></think>", "x</thinking> ", "</think>[/THINK]"])
def test_a_text_of_tags_is_read_in_time_of_its_length(piece: str) -> None:
    began = time.thread_time()
    split(piece * 30_000)
    assert time.thread_time() - began < 3  # one by one it takes 15 s or more
