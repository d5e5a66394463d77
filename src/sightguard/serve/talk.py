"""From the events of a job to a response: whole, or as a stream."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sightguard.serve.exchange import Exchange
from sightguard.serve.job import Done, Event, Failed, Piece, Proof
from sightguard.serve.record import Record
from sightguard.serve.service import Service
from sightguard.serve.wire import in_chat
from sightguard.serve.wire.answers import Chunks, Stamp, completion, refusal
from sightguard.serve.wire.chat import Asked
from sightguard.serve.wire.errors import WireError, trouble
from sightguard.serve.wire.proof import block, header, uninspected
from sightguard.serve.wire.refusals import WORDS, Reason

log = logging.getLogger(__name__)


@dataclass
class Talk:
    """One chat request, from its first event on."""

    service: Service
    record: Record
    asked: Asked
    exchange: Exchange
    stamp: Stamp = field(init=False)
    proof: Mapping[str, Any] = field(init=False)
    moderation: Mapping[str, Any] | None = None
    refused: Reason | None = None
    """Why the guard answers in the model's place."""
    ended: bool = False

    def __post_init__(self) -> None:
        self.stamp = Stamp(self.record.id, self.record.created, self.service.engine.name)

    async def begin(self) -> None:
        """Wait until the guard has seen the request, and decide whether the model may speak.

        Raises:
            WireError: there is no answer, through no decision of the guard.
        """
        event = await self.exchange.next()
        if isinstance(event, Failed):
            self._failed(event)
        else:
            assert isinstance(event, Proof)
            self._seen(event)
        self.proof = block(
            self.service.engine.guard, self.asked.received, self.record.proof, rule=self.refused or self._bypass()
        )
        if self.refused is not None:
            self.exchange.leave()
            self.record.refused(self.refused)

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that prove what was inspected."""
        return {"x-sightguard": header(self.proof), "x-request-id": self.record.id}

    async def whole(self) -> dict[str, Any]:
        """Return the body of the response.

        Raises:
            WireError: there is no answer.
        """
        pieces: list[Piece] = []
        while self.refused is None:
            event = await self.exchange.next()
            if isinstance(event, Piece):
                pieces.append(event)
                self.record.wrote(event)
            elif isinstance(event, Done):
                self._done(event)
                return completion(
                    self.stamp,
                    pieces,
                    event,
                    self.proof,
                    logprobs=self.asked.decoding.logprobs,
                    moderation=self.moderation,
                )
            elif isinstance(event, Failed):
                self._failed(event)
        self.record.texts.clear()
        self.record.refused(self.refused)
        self.proof = {**self.proof, "rule": self.refused}
        return refusal(self.stamp, WORDS[self.refused], self.proof, moderation=self.moderation)

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the events of the stream; `end` must be awaited after it, also where nobody listened to its end."""
        try:
            async for chunk in self._chunks():
                yield _event(chunk)
        except Exception:
            log.exception("a stream failed")
            self.record.ended("failed", 500, trouble="internal")
            yield _event(WireError(500, "the server failed on this request; its log says why.", "server_error").body())
        await self.end()  # who has read the end finds it in the log
        yield b"data: [DONE]\n\n"

    async def end(self) -> None:
        """Set the engine free, and write the line that the stream ended; once, however often it is called."""
        self.exchange.leave()
        if self.ended:
            return
        self.ended = True
        if self.record.outcome == "streaming":
            self.record.ended("cancelled", 499, trouble="cancelled")
        with suppress(WireError):  # the stream has begun; that its end is missing from the log is logged
            await self.service.close(self.record)

    async def _chunks(self) -> AsyncIterator[Mapping[str, Any]]:
        chunks = Chunks(self.stamp, self.asked.include_usage, self.asked.decoding.logprobs)
        yield chunks.opening(self.proof, self.moderation)
        done = Done("stop", 0, 0)
        try:
            while self.refused is None:
                event: Event = await self.exchange.next()
                if isinstance(event, Piece):
                    self.record.wrote(event)
                    yield chunks.piece(event)
                elif isinstance(event, Failed):
                    self._failed(event)
                elif isinstance(event, Done):
                    self._done(event)
                    done = event
                    break
        except WireError as error:
            yield error.body()
            return
        if self.refused is not None:
            self.record.refused(self.refused)
            yield chunks.refused(WORDS[self.refused])
        yield chunks.closing("content_filter" if self.refused is not None else done.finish)
        if self.asked.include_usage:
            yield chunks.last(done.prompt_tokens, done.answer_tokens)

    def _seen(self, proof: Proof) -> None:
        self.record.proof = proof
        if self.record.plain:
            return
        missing = uninspected(self.asked.received, proof)
        if "image" in missing or (missing and self.service.settings.refuse_uninspected):
            self.refused = "not_inspected"
        wanted = self.asked.moderation
        if wanted is not None:
            self.moderation = in_chat.moderation(wanted, proof, self.asked.received)
            if in_chat.blocks(wanted, self.moderation):
                self.refused = self.refused or "moderation_block"

    def _failed(self, event: Failed) -> None:
        error = trouble(event)
        self.record.trouble = event.trouble
        if error is None:
            self.refused = "guard_error"
            return
        outcome = "cancelled" if event.trouble == "cancelled" else "rejected" if error.status == 400 else "failed"
        self.record.ended(outcome, error.status)  # type: ignore[arg-type]
        raise error

    def _done(self, event: Done) -> None:
        self.record.finish = event.finish
        self.record.prompt_tokens, self.record.answer_tokens = event.prompt_tokens, event.answer_tokens
        self.record.ended("answered", 200)

    def _bypass(self) -> str | None:
        return "bypass" if self.record.plain else None


def _event(chunk: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(chunk, separators=(",", ":"), allow_nan=False).encode() + b"\n\n"
