"""Thoughts that an endpoint left in an answer: cut before anyone judges it, since a judge would take them for what was said.

`sightguard.models.thinking` does this for a model that is loaded here, by its tokens. Of a remote answer there is only the text: an answer that
begins with `<think>`, or has a `</think>` whose beginning the chat template wrote. A `<think>` further back is part of the answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

from sightguard.models.layouts import THOUGHT_TAGS
from sightguard.types import Response


def split(text: str) -> tuple[str, str]:
    """Return (thoughts, answer); thoughts that never end leave an empty answer.

    Example:
        >>> split("<think>which one?</think>The red one.")
        ('which one?', 'The red one.')
        >>> split("which one?</think>The red one.")
        ('which one?', 'The red one.')
        >>> split("<think>which")
        ('which', '')
    """
    thoughts: list[str] = []
    tags = [(_Tag.of(before, text), _Tag.of(after, text)) for before, after in THOUGHT_TAGS]
    at = 0
    while (found := _first(text, _begin(text, at), tags)) is not None:
        start, end, at = found
        thoughts.append(text[start:end].strip())
    return "\n".join(thought for thought in thoughts if thought), text[at:].strip() if thoughts else text


def without_thoughts(response: Response) -> Response:
    """Return the response with its thoughts apart from its text; one without thoughts as it is."""
    thought, answer = split(response.text)
    if answer == response.text:
        return response
    return replace(response, text=answer, thought="\n".join(part for part in (response.thought, thought) if part))


@dataclass(slots=True)
class _Tag:
    """Where a tag stands. It is asked for later and later places, so that all answers together read the text once."""

    places: Iterator[re.Match[str]]
    place: re.Match[str] | None

    @classmethod
    def of(cls, tag: str, text: str) -> Self:
        places = re.finditer(re.escape(tag), text, re.IGNORECASE)
        return cls(places, next(places, None))

    def after(self, at: int) -> re.Match[str] | None:
        """Return the first place that is not before `at`."""
        while self.place is not None and self.place.start() < at:
            self.place = next(self.places, None)
        return self.place


def _begin(text: str, at: int) -> int:
    """Return where a text begins, white space left out."""
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _first(text: str, at: int, tags: Sequence[tuple[_Tag, _Tag]]) -> tuple[int, int, int] | None:
    """Return where the thoughts that the text has at `at` begin and end, and where it goes on; None where there are none."""
    places = [(before.after(at), after.after(at)) for before, after in tags]
    for opened, closed in places:
        if opened is not None and opened.start() == at:
            return (opened.end(), len(text), len(text)) if closed is None else (opened.end(), *closed.span())
    for opened, closed in places:
        if closed is not None and (opened is None or opened.start() > closed.start()):
            return at, *closed.span()
    return None
