"""From tokens to text while an answer is written: no half characters, no blanks at its ends, nothing of a stop string."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sightguard.serve.job import TokenLogprob

Decode = Callable[[Sequence[int]], str]
BROKEN = "�"
"""What a tokenizer writes for bytes that are no whole character yet."""
WINDOW = 8
"""Tokens that are decoded once more with those that come, so that blanks between words come out as in the whole."""


@dataclass
class Written:
    """The text of an answer that grows token by token.

    Joined, what `take` returned is the whole text, without blanks at its ends and cut before the first stop string.

    Args:
        decode: of token ids, without special tokens.
        stops: strings that end the answer.
    """

    decode: Decode
    stops: tuple[str, ...] = ()
    stopped: bool = False
    text: str = ""
    """What was written so far; cut, once a stop string came."""
    _tokens: list[int] = field(default_factory=list)
    _marks: list[tuple[int, TokenLogprob]] = field(default_factory=list)
    """(where the token's text ends, its log probability), of those that were not handed on."""
    _settled: int = 0
    """Tokens whose text is in `text` for good."""
    _given: int = 0

    def keep(self, token: int, logprob: TokenLogprob | None = None) -> None:
        """Take in one more token of an answer that nobody reads before its end: its text is made then."""
        self._tokens.append(token)
        if logprob is not None:
            self._marks.append((0, logprob))

    def add(self, token: int, logprob: TokenLogprob | None = None) -> None:
        """Take in one more token."""
        self._tokens.append(token)
        before = self.decode(self._tokens[max(0, self._settled - WINDOW) : self._settled])
        after = self.decode(self._tokens[max(0, self._settled - WINDOW) :])
        if not after.endswith(BROKEN):
            # a tokenizer that cleans up blanks may take back some: then the whole is decoded anew
            grown = after.startswith(before)
            self.text = self.text + after[len(before) :] if grown else self.decode(self._tokens)
            self._settled = len(self._tokens)
        if logprob is not None:
            self._marks.append((len(self.text), logprob))
        self.cut()

    def end(self) -> None:
        """Settle what is left: bytes that never became a character stand as the tokenizer writes them."""
        if not self.stopped:
            self.text = self.decode(self._tokens)
            self.cut()

    def take(self, *, last: bool = False) -> tuple[str, tuple[TokenLogprob, ...]]:
        """Return what can be handed on and was not; `last` when nothing more will come."""
        whole = self.text.rstrip() if last or self.stopped else self._safe()
        begin = max(self._given, len(self.text) - len(self.text.lstrip()))
        found = whole[begin:]
        end = max(begin, len(whole))
        if not found and not last:
            return "", ()
        self._given = end
        ready = [mark for place, mark in self._marks if place <= end or (last and not self.stopped)]
        self._marks = [(place, mark) for place, mark in self._marks if not (place <= end or last)]
        return found, tuple(ready)

    def cut(self) -> None:
        places = [place for stop in self.stops if (place := self.text.find(stop)) >= 0]
        if places and not self.stopped:
            self.stopped = True
            self.text = self.text[: min(places)]

    def _safe(self) -> str:
        """Return the text without blanks at its end, and without an end that may become a stop string."""
        longest = max((len(stop) for stop in self.stops), default=1) - 1
        keep = next(
            (n for n in range(min(longest, len(self.text)), 0, -1) if self._may_stop(self.text[len(self.text) - n :])),
            0,
        )
        return self.text[: len(self.text) - keep].rstrip()

    def _may_stop(self, end: str) -> bool:
        return any(stop.startswith(end) for stop in self.stops)
