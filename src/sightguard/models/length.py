"""Answers of one length, for timing: what differs between a short and a long answer is then the time of its tokens alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_TOKENS: ContextVar[int | None] = ContextVar("tokens of every answer", default=None)


@contextmanager
def exactly(tokens: int) -> Iterator[None]:
    """Let answers have exactly `tokens` tokens inside the `with`: none ends early, and none goes on.

    It holds in this thread, for every `VLM.generate` that is called without a length of its own, however deep inside a guard.
    """
    before = _TOKENS.set(tokens)
    try:
        yield
    finally:
        _TOKENS.reset(before)


def fixed_length() -> dict[str, int]:
    """Return the options of transformers' `generate` that fix the length, if it is fixed here."""
    tokens = _TOKENS.get()
    return {} if tokens is None else {"max_new_tokens": tokens, "min_new_tokens": tokens}
