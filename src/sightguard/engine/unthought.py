"""The answer of a thinking model while it is written: what stands behind its thoughts, which no client reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sightguard.engine.text import Written
from sightguard.models.thinking import Thoughts
from sightguard.serve.job import TokenLogprob


@dataclass
class Unthought:
    """As `Written`, of the tokens behind the thoughts alone: neither the text of thoughts nor their log probabilities leave.

    Where a model opens its thoughts itself, what may be the beginning of their mark waits until it is known. What was written before thoughts
    that began late is no answer; of a stream it may have left already.

    Args:
        thoughts: how the model marks them.
        begin: makes what takes in the answer.
    """

    thoughts: Thoughts
    begin: Callable[[], Written]
    _written: Written = field(init=False)
    _tokens: list[tuple[int, TokenLogprob | None]] = field(default_factory=list)
    _start: int = 0
    """Where the answer begins, as far as is known."""
    _taken: int = 0
    """Tokens that were taken in, or passed over."""

    def __post_init__(self) -> None:
        self._written = self.begin()

    @property
    def stopped(self) -> bool:
        """A stop string came."""
        return self._written.stopped

    def keep(self, token: int, logprob: TokenLogprob | None = None) -> None:
        """Take in one more token of an answer that nobody reads before its end."""
        self._tokens.append((token, logprob))

    def add(self, token: int, logprob: TokenLogprob | None = None) -> None:
        """Take in one more token."""
        self._tokens.append((token, logprob))
        self._read()

    def end(self) -> None:
        """Settle what is left."""
        self._read(last=True)
        self._written.end()

    def take(self, *, last: bool = False) -> tuple[str, tuple[TokenLogprob, ...]]:
        """Return what can be handed on and was not; `last` when nothing more will come."""
        return self._written.take(last=last)

    def _read(self, *, last: bool = False) -> None:
        if self.stopped:
            return
        _, answer = self.thoughts.split([token for token, _ in self._tokens])
        start = len(self._tokens) - len(answer)
        if start != self._start:
            self._written, self._start, self._taken = self.begin(), start, start
        waits = 0 if last or start else max(_begun(mark, answer) for mark in (self.thoughts.open, self.thoughts.close))
        for token, logprob in self._tokens[self._taken : len(self._tokens) - waits]:
            if not self.stopped:
                self._written.add(token, logprob)
        self._taken = len(self._tokens) - waits


def _begun(mark: Sequence[int], tokens: Sequence[int]) -> int:
    """Return how many tokens at the end may be the beginning of a mark."""
    longest = min(len(mark) - 1, len(tokens))
    return next((n for n in range(longest, 0, -1) if tuple(tokens[-n:]) == tuple(mark[:n])), 0)
