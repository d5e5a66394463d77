"""Signs that a user must not write: tokens of the model's own, and the words with which its chat template opens a turn."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sightguard.engine.lengths import Lengths
from sightguard.errors import DataError, ModelError, PromptTooLong
from sightguard.models.chat import render
from sightguard.models.text import opens_itself
from sightguard.types import Message, Role, Sample

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM

WORDS = ("alpha", "beta", "gamma")
"""What is said in the conversation by which the template is read."""
LETTERS = 64
"""Letters of a token, on average, that no text has: a longer one is too long for the model, and is not read to find that out."""
SHORTEST = 3
"""Letters of a turn's opening; a shorter one (a line break, a colon) is in every text."""


@dataclass
class Signs:
    """What a text is searched for before it becomes part of a prompt.

    Args:
        vlm: the model with the processor that prompts go through.
    """

    vlm: VLM
    strings: tuple[str, ...] = field(init=False)
    """What must not stand in a text."""
    _ids: frozenset[int] = field(init=False, repr=False)
    _tokenizer: Any = field(init=False, repr=False)
    """Its own, since the model's is held while the model runs."""
    _lengths: Lengths = field(init=False, repr=False)
    _alone: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        self._tokenizer = copy.deepcopy(self.vlm.processor.tokenizer)
        self._lengths = Lengths(self.vlm.processor)
        tokens = special_tokens(self._tokenizer)
        self.strings = (*tokens, *turn_openings(self.vlm.processor, tokens))
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
            for part in message.parts:
                sign = next((sign for sign in self.strings if isinstance(part, str) and sign in part), None)
                if sign is not None:
                    raise DataError(
                        f"a text of the {message.role!r} holds {sign!r}, which this model reads as a sign of its own. Take it out of the text."
                    )
        if context is not None and (tokens := self._lengths.of(sample)) > context:
            raise PromptTooLong(f"the prompt has {tokens:,} tokens; this model takes at most {context:,}. Shorten it.")
        # a tokenizer may read other letters as a sign too, after it has normalized them
        if self._count(sample) != self._count(_said(sample, WORDS[0])):
            raise DataError(
                "a text of this conversation holds something that this model reads as a sign of its own. Take it out of the text."
            )

    def _count(self, sample: Sample) -> int:
        bare = sample.without_images()
        if not any(message.parts for message in bare.messages):
            return 0
        texts = render(self.vlm.processor, [bare])
        tokenizer = self._tokenizer
        with self._alone:
            (row,) = tokenizer(texts, add_special_tokens=not opens_itself(tokenizer, texts[0]))["input_ids"]
        return sum(token in self._ids for token in row)


def special_tokens(tokenizer: Any) -> list[str]:
    """Return every token that stands for something else than its letters, the longest first."""
    added = (token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
    found = {*tokenizer.all_special_tokens, *added}
    return sorted((token for token in found if token.strip()), key=lambda token: (-len(token), token))


def turn_openings(processor: Any, tokens: Sequence[str]) -> list[str]:
    """Return the words by which a chat template opens a turn where it uses words alone ("ASSISTANT:").

    A turn that is opened by a special token cannot be written by a user who may not write that token.
    """
    roles: tuple[Role, ...] = ("user", "assistant", "user")
    turns = tuple(Message(role, (word,)) for role, word in zip(roles, WORDS, strict=True))
    try:
        (text,) = render(processor, [Sample("turns", turns)])
    except (DataError, ModelError):
        return []
    found: list[str] = []
    for before, after in ((WORDS[0], WORDS[1]), (WORDS[1], WORDS[2]), (WORDS[2], None)):
        rest = text.partition(before)[2]
        between = (rest.partition(after)[0] if after else rest).strip()
        if len(between) >= SHORTEST and not any(token in between for token in tokens):
            found.append(between)
    return list(dict.fromkeys(found))


def _said(sample: Sample, word: str) -> Sample:
    """Return the conversation with a harmless word in place of every text."""
    messages: Iterable[Message] = (
        replace(
            message, parts=tuple(word if isinstance(part, str) and part.strip() else part for part in message.parts)
        )
        for message in sample.messages
    )
    return replace(sample, messages=tuple(messages))
