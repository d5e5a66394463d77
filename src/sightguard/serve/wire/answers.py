"""From what the engine tells to what the client is sent: one completion, or the chunks of a stream."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sightguard.serve.job import Alternative, Done, Piece, TokenLogprob

LEAST = -9999.0
"""What OpenAI writes for a log probability that is lower, or that there is none of."""
Filtered = Literal["content_filter"]
Block = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stamp:
    """What is the same in every piece of one response."""

    id: str
    created: int
    """Seconds since 1970."""
    model: str

    def of(self, object: str) -> dict[str, Any]:
        return {"id": self.id, "object": object, "created": self.created, "model": self.model}


def completion(
    stamp: Stamp,
    pieces: Sequence[Piece],
    done: Done,
    proof: Block,
    *,
    logprobs: bool = False,
    moderation: Block | None = None,
) -> dict[str, Any]:
    """Return the body of an answer.

    Args:
        stamp: id, time and model.
        pieces: of the answer, in their order.
        done: how it ended.
        proof: the block of `sightguard.serve.wire.proof`.
        logprobs: whether they were asked for.
        moderation: the block of `sightguard.serve.wire.in_chat`, where it was asked for.
    """
    tokens = [token for piece in pieces for token in piece.logprobs]
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "".join(piece.text for piece in pieces), "refusal": None},
        "finish_reason": done.finish,
        "logprobs": _logprobs(tokens) if logprobs else None,
    }
    return _whole(stamp, choice, usage(done.prompt_tokens, done.answer_tokens), proof, moderation)


def refusal(
    stamp: Stamp, words: str, proof: Block, *, prompt_tokens: int = 0, moderation: Block | None = None
) -> dict[str, Any]:
    """Return the body of an answer that the guard gives in the model's place; `content` is null and nothing of the model's leaves."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": None, "refusal": words},
        "finish_reason": "content_filter",
        "logprobs": None,
    }
    return _whole(stamp, choice, usage(prompt_tokens, 0), proof, moderation)


def usage(prompt_tokens: int, answer_tokens: int) -> dict[str, int]:
    """Return the count of tokens."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": answer_tokens,
        "total_tokens": prompt_tokens + answer_tokens,
    }


@dataclass(frozen=True, slots=True)
class Chunks:
    """Makes the chunks of one stream, in this order: `opening`, any number of `piece` or one `refused`, `closing`, and `last` if usage was
    asked for.
    """

    stamp: Stamp
    include_usage: bool = False
    logprobs: bool = False

    def opening(self, proof: Block, moderation: Block | None = None) -> dict[str, Any]:
        """Return the first chunk: the role, and what was inspected, before any text."""
        extra = {"moderation": moderation} if moderation is not None else {}
        return {**self._chunk({"role": "assistant", "content": "", "refusal": None}), **extra, "sightguard": proof}

    def piece(self, piece: Piece) -> dict[str, Any]:
        """Return some more text."""
        return self._chunk({"content": piece.text}, logprobs=_logprobs(piece.logprobs) if self.logprobs else None)

    def refused(self, words: str) -> dict[str, Any]:
        """Return the guard's own words; close with "content_filter" after them."""
        return self._chunk({"refusal": words})

    def closing(self, finish: Literal["stop", "length", "content_filter"]) -> dict[str, Any]:
        """Return the last chunk of the answer."""
        return self._chunk({}, finish)

    def last(self, prompt_tokens: int, answer_tokens: int) -> dict[str, Any]:
        """Return the chunk of the usage, which has no choices."""
        return {
            **self.stamp.of("chat.completion.chunk"),
            "choices": [],
            "usage": usage(prompt_tokens, answer_tokens),
        }

    def _chunk(self, delta: Block, finish: str | None = None, logprobs: Block | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": logprobs}
        without = {"usage": None} if self.include_usage else {}
        return {**self.stamp.of("chat.completion.chunk"), "choices": [choice], **without}


def _whole(
    stamp: Stamp, choice: Block, used: Mapping[str, int], proof: Block, moderation: Block | None
) -> dict[str, Any]:
    extra = {"moderation": moderation} if moderation is not None else {}
    return {**stamp.of("chat.completion"), "choices": [choice], "usage": used, **extra, "sightguard": proof}


def _logprobs(tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
    content = [{**_alternative(token.chosen), "top_logprobs": list(map(_alternative, token.top))} for token in tokens]
    return {"content": content, "refusal": None}


def _alternative(token: Alternative) -> dict[str, Any]:
    likely = max(token.logprob, LEAST) if math.isfinite(token.logprob) else LEAST
    return {"token": token.token, "bytes": list(token.bytes), "logprob": likely}
