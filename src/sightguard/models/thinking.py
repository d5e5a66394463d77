"""Thinking models: what they write before the answer begins is no answer, and no judge should take it for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sightguard.models.layouts import THOUGHT_TAGS


@dataclass(frozen=True, slots=True)
class Thoughts:
    """How a model marks its thoughts, as token ids."""

    open: tuple[int, ...]
    close: tuple[int, ...]
    opened: bool
    """The chat template opens the thoughts, so that the model goes on in the midst of them."""

    def split(self, answer: Sequence[int]) -> tuple[list[int], list[int]]:
        """Return (thoughts, answer) of what a model wrote; thoughts that never end leave an empty answer."""
        tokens = list(answer)
        end = _find(tokens, self.close)
        if end is not None:
            start = _find(tokens[:end], self.open)
            begin = 0 if start is None else start + len(self.open)
            return tokens[begin:end], tokens[end + len(self.close) :]
        start = _find(tokens, self.open)
        if start is not None:
            return tokens[start + len(self.open) :], []
        return (tokens, []) if self.opened else ([], tokens)


def thoughts_of(processor: Any) -> Thoughts | None:
    """Return how the model of this processor marks its thoughts, or None where its chat template knows of none."""
    template = getattr(processor, "chat_template", None) or ""
    for before, after in THOUGHT_TAGS:
        if before in template or after in template:
            ids = processor.tokenizer.convert_tokens_to_ids
            inside = processor.tokenizer.get_vocab()
            first, last = (
                (ids(tag),) if tag in inside else tuple(processor.tokenizer(tag, add_special_tokens=False)["input_ids"])
                for tag in (before, after)
            )
            return Thoughts(first, last, _opens(processor, before, after))
    return None


def _opens(processor: Any, before: str, after: str) -> bool:
    asked = [{"role": "user", "content": [{"type": "text", "text": "?"}]}]
    told = processor.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    last = told.rfind(before)
    return last >= 0 and after not in told[last:]


def _find(tokens: Sequence[int], mark: Sequence[int]) -> int | None:
    places = (i for i in range(len(tokens) - len(mark) + 1) if tuple(tokens[i : i + len(mark)]) == tuple(mark))
    return next(places, None)
