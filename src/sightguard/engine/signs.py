"""Signs that a user must not write: tokens of the model's own, and the words with which its chat template opens a turn.

A text is searched for them, and so is the prompt that it becomes part of: there each sign must stand as often as in the prompt of the same
conversation with harmless words. So it does not matter over how many parts a sign is split, what stands between them, or whether the template
or the tokenizer makes it of other letters.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sightguard.engine.lengths import Lengths
from sightguard.engine.openings import SHORTEST, WORDS, turn_openings
from sightguard.errors import DataError, PromptTooLong
from sightguard.models.chat import render
from sightguard.models.text import opens_itself
from sightguard.types import Message, Sample

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM

LETTERS = 64
"""Letters of a token, on average, that no text has: a longer one is too long for the model, and is not read to find that out."""


@dataclass
class Signs:
    """What a text is searched for before it becomes part of a prompt.

    Args:
        vlm: the model with the processor that prompts go through.
    """

    vlm: VLM
    strings: tuple[str, ...] = field(init=False)
    """What must not stand in a text."""
    _folded: tuple[str, ...] = field(init=False, repr=False)
    """Openings of turns as the tokenizer reads them; of what it reads as a token it says so itself."""
    _ids: frozenset[int] = field(init=False, repr=False)
    _tokenizer: Any = field(init=False, repr=False)
    """Its own, since the model's is held while the model runs."""
    _lengths: Lengths = field(init=False, repr=False)
    _alone: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        self._tokenizer = copy.deepcopy(self.vlm.processor.tokenizer)
        self._lengths = Lengths(self.vlm.processor)
        tokens = special_tokens(self._tokenizer)
        openings = turn_openings(self.vlm.processor, tokens)
        self.strings = (*tokens, *openings)
        self._folded = tuple(sign for sign in map(self._fold_sign, openings) if len(sign) >= SHORTEST)
        # a word that a tokenizer does not know is no sign
        self._ids = frozenset(self._tokenizer.convert_tokens_to_ids(tokens)) - {self._tokenizer.unk_token_id}

    def check(self, sample: Sample) -> None:
        """Raise DataError where a text would add a token of the model's own, a picture or a turn to the prompt.

        Raises:
            PromptTooLong: it is so long that the model cannot take it.
        """
        letters, context = len(sample.text), self.vlm.context
        if context is not None and letters > context * LETTERS:
            raise PromptTooLong(
                f"the texts have {letters:,} letters; this model takes at most {context:,} tokens. Shorten them."
            )
        for message in sample.messages:
            joined = "".join(part for part in message.parts if isinstance(part, str))
            sign = next((sign for sign in self.strings if sign in joined), None)
            if sign is not None:
                raise DataError(
                    f"a text of the {message.role!r} holds {sign!r}, which this model reads as a sign of its own. Take it out of the text."
                )
        if context is not None and (tokens := self._lengths.of(sample)) > context:
            raise PromptTooLong(f"the prompt has {tokens:,} tokens; this model takes at most {context:,}. Shorten it.")
        if list(self._counts(sample)) != list(self._counts(_said(sample, WORDS[0]))):
            raise DataError(
                "a text of this conversation holds something that this model reads as a sign of its own. Take it out of the text."
            )

    def _counts(self, sample: Sample) -> Iterator[int]:
        """Yield how often each sign stands in what the model reads, and in what a guard reads of it without the pictures."""
        readings = [sample, sample.without_images()] if sample.images else [sample]
        for text in render(self.vlm.processor, [one for one in readings if any(turn.parts for turn in one.messages)]):
            yield self._special(text)
            yield from (_occurrences(sign, text) for sign in self.strings)
            folded = self._fold(text)
            yield from (_occurrences(sign, folded) for sign in self._folded)

    def _special(self, text: str) -> int:
        with self._alone:
            (row,) = self._tokenizer([text], add_special_tokens=not opens_itself(self._tokenizer, text))["input_ids"]
        return sum(token in self._ids for token in row)

    def _fold(self, text: str) -> str:
        """Return a text as the tokenizer reads it: full-width letters as plain ones, letters without width gone, and so on."""
        inner = getattr(self._tokenizer, "backend_tokenizer", None)
        normalizer = getattr(inner, "normalizer", None)
        return text if normalizer is None else str(normalizer.normalize_str(text))

    def _fold_sign(self, sign: str) -> str:
        # behind a word, for what some tokenizers put before the first letter of a text
        word = WORDS[0]
        return self._fold(word + sign).removeprefix(self._fold(word))


def special_tokens(tokenizer: Any) -> list[str]:
    """Return every token that stands for something else than its letters, the longest first."""
    added = (token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
    found = {*tokenizer.all_special_tokens, *added}
    return sorted((token for token in found if token.strip()), key=lambda token: (-len(token), token))


def _occurrences(sign: str, text: str) -> int:
    """Count, those too that share letters."""
    found, place = 0, text.find(sign)
    while place >= 0:
        found, place = found + 1, text.find(sign, place + 1)
    return found


def _said(sample: Sample, word: str) -> Sample:
    """Return the conversation with a harmless word in place of every text."""
    messages: Iterable[Message] = (
        replace(
            message, parts=tuple(word if isinstance(part, str) and part.strip() else part for part in message.parts)
        )
        for message in sample.messages
    )
    return replace(sample, messages=tuple(messages))
