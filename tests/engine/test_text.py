"""What is handed on, joined, is the whole text: whatever the tokens, the blanks, the stop strings and the moments of taking."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from sightguard.engine.text import Written
from sightguard.serve.job import Alternative, TokenLogprob


def by_bytes(tokens: Sequence[int]) -> str:
    """A tokenizer whose tokens are bytes, so that a character may need four."""
    return bytes(tokens).decode("utf-8", "replace")


def joined(tokens: Sequence[int], stops: Sequence[str], moments: Sequence[bool]) -> tuple[str, Written]:
    written, found = Written(by_bytes, tuple(stops)), ""
    for number, token in enumerate(tokens):
        written.add(token)
        if moments and moments[number % len(moments)]:
            found += written.take()[0]
        if written.stopped:
            break
    written.end()
    return found + written.take(last=True)[0], written


TEXTS = st.text(st.sampled_from("ab \n.é漢🙂"), max_size=30)
STOPS = st.lists(st.text(st.sampled_from("ab .漢"), min_size=1, max_size=4), max_size=3)


def cut(text: str, stops: Sequence[str]) -> str:
    """An answer ends where the first stop string is complete, which may have begun after one that is not."""
    for end in range(len(text) + 1):
        places = [place for stop in stops if (place := text[:end].find(stop)) >= 0]
        if places:
            return text[: min(places)]
    return text


@given(TEXTS, STOPS, st.lists(st.booleans(), max_size=5))
def test_pieces_joined_are_the_text_up_to_the_first_stop_string(
    text: str, stops: list[str], moments: list[bool]
) -> None:
    found, written = joined(list(text.encode()), stops, moments)
    first = cut(text, stops)
    assert written.stopped == (first != text)
    # blanks at the ends are nobody's: what stands before a stop string may have been all blanks
    assert found == first.strip()


@given(TEXTS, st.lists(st.booleans(), min_size=1, max_size=5))
def test_no_piece_holds_half_a_character(text: str, moments: list[bool]) -> None:
    written = Written(by_bytes)
    for number, token in enumerate(text.encode()):
        written.add(token)
        if moments[number % len(moments)]:
            assert "�" not in written.take()[0]


def test_bytes_that_never_become_a_character_are_told_at_the_end() -> None:
    assert joined([0x61, 0xF0, 0x9F], (), [True])[0] == "a�"


def mark(token: str) -> TokenLogprob:
    return TokenLogprob(Alternative(token, tuple(token.encode()), -1.0))


def test_every_token_of_the_text_has_its_logprob_once_and_those_of_a_stop_string_none() -> None:
    for take in (False, True):
        written = Written(by_bytes, ("STOP",))
        found: list[TokenLogprob] = []
        for letter in "ab cSTOP":
            written.add(ord(letter), mark(letter))
            if take:
                found += written.take()[1]
        found += written.take(last=True)[1]
        assert [one.chosen.token for one in found] == list("ab c")
