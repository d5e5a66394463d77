"""The words by which a chat template opens and closes turns, found by what it writes about texts that are known."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from sightguard.errors import DataError, ModelError
from sightguard.models.chat import render
from sightguard.models.layouts import THOUGHT_TAGS
from sightguard.types import Message, Role, Sample

WORDS = ("alpha", "beta", "gamma")
"""What is said in the conversations by which the template is read."""
TALKS: tuple[tuple[Role, ...], ...] = (("user", "assistant", "user"), ("system", "user"))
SHORTEST = 3
"""Letters of an opening; a shorter one (a line break, a colon) is in every text."""
LONGEST = 32
"""Letters of the words that open the first turn; a longer line is a system prompt that the template brings along."""
_MARK = re.compile(r"<+[^<>\s]+>+|\[+[^\[\]\s]+\]+")
"""What no tokenizer need know, and is a marker by its looks: <|im_start|>, [/INST], <<SYS>>."""


def turn_openings(processor: Any, tokens: Sequence[str]) -> list[str]:
    """Return the words by which a chat template opens or closes a turn ("ASSISTANT:", "[/INST]", "<<SYS>>").

    A name that follows a special token ("assistant" behind <|start|>) opens nothing without it, and stands in every text.

    Args:
        processor: with a chat template.
        tokens: special ones, which are searched for anyway.
    """
    found: list[str] = []
    for roles in TALKS:
        lead, *others = _written(processor, roles) or [""]
        first = _lines(lead, tokens)[-1:]
        found += [sign for line in first for sign in _signs(line) if sign != line or _opens(line)]
        found += [sign for text in others for line in _lines(text, tokens) for sign in _signs(line)]
    thoughts = {tag for pair in THOUGHT_TAGS for tag in pair}
    return [sign for sign in dict.fromkeys(found) if sign not in thoughts]


def _written(processor: Any, roles: Sequence[Role]) -> list[str]:
    """Return what the template writes before, between and behind the texts of a conversation; nothing where it refuses one."""
    turns = tuple(Message(role, (word,)) for role, word in zip(roles, WORDS, strict=False))
    try:
        (rest,) = render(processor, [Sample("turns", turns)])
    except (DataError, ModelError):
        return []
    found: list[str] = []
    for word in WORDS[: len(roles)]:
        before, _, rest = rest.partition(word)
        found.append(before)
    return [*found, rest]


def _lines(text: str, tokens: Sequence[str]) -> list[str]:
    apart = re.split("|".join(map(re.escape, tokens)), text) if tokens else [text]
    return [line.strip() for piece in apart for line in piece.splitlines() if line.strip()]


def _signs(line: str) -> Iterator[str]:
    marks = [mark for mark in _MARK.findall(line) if len(mark) >= SHORTEST]
    if marks:
        yield from marks
    elif len(line) >= SHORTEST and not re.fullmatch(r"[\w\s]+", line):
        yield line


def _opens(line: str) -> bool:
    """Whether the line before the first text opens its turn, rather than being the end of a prompt of the template's own."""
    return (len(line) <= LONGEST and line.endswith((":", "#"))) or bool(_MARK.fullmatch(line))
