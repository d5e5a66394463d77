"""What one server holds, and the way of a request through it; the routes (`sightguard.serve.app`) only translate."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sightguard.errors import DataError, PromptTooLong
from sightguard.serve.exchange import Exchange
from sightguard.serve.fetch import Fetcher
from sightguard.serve.job import Engine, Failed, Inspection
from sightguard.serve.keys import Keys
from sightguard.serve.log import AuditLog
from sightguard.serve.metrics import Metrics
from sightguard.serve.queue import Closed, Full, Queue
from sightguard.serve.record import Record
from sightguard.serve.room import Room
from sightguard.serve.settings import Settings
from sightguard.serve.wire import chat, moderations
from sightguard.serve.wire.errors import WireError, trouble
from sightguard.serve.wire.pictures import keep_texts_short
from sightguard.serve.wire.refusals import WORDS

if TYPE_CHECKING:
    from sightguard.types import Sample

log = logging.getLogger(__name__)
INSPECTOR = "sightguard-inspector"
"""The name of the guard's own inspectors, where a client names a model for moderation."""


@dataclass
class Service:
    """A guarded model, its queue, its limits, its log and its counts."""

    engine: Engine
    settings: Settings
    keys: Keys | None = None
    audit: AuditLog | None = None
    canary: dict[str, Any] = field(default_factory=dict)
    """What was measured before the server opened."""
    created: int = field(default_factory=lambda: int(time.time()))
    metrics: Metrics = field(init=False)
    queue: Queue = field(init=False)
    fetch: Callable[[str], bytes] | None = field(init=False)
    room: Room = field(init=False)
    """For pictures that are decoded as requests come in."""
    _inspecting: asyncio.Lock = field(default_factory=asyncio.Lock, init=False, repr=False)
    _inspections: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        settings = self.settings
        keep_texts_short()
        self.metrics = Metrics(self.engine.guard, (*self.engine.rules, *WORDS))
        self.queue = Queue(
            self.engine,
            most=settings.queue,
            wait=settings.wait,
            watch=self.metrics.batch,
            pixels=settings.max_request_pixels,
        )
        self.room = Room(settings.max_pixels)
        self.fetch = (
            Fetcher.of(settings.image_hosts, max_bytes=settings.max_image_bytes) if settings.image_hosts else None
        )
        if self.audit is not None:
            self.audit.check()

    @property
    def names(self) -> tuple[str, ...]:
        """The model, and its inspectors, as clients call them."""
        return (self.engine.name, INSPECTOR)

    def open(self, route: str) -> Record:
        """Begin the record of a request."""
        return Record(f"chatcmpl-{secrets.token_hex(16)}", route, self.engine.guard)

    async def close(self, record: Record) -> None:
        """Count a request and write its line.

        Raises:
            WireError: 503, it cannot be written, and nothing leaves unlogged.
        """
        try:
            await self._write(record)
        finally:
            record.count(self.metrics)

    async def streaming(self, record: Record) -> None:
        """Write the line that a stream begins.

        Raises:
            WireError: 503, as for `close`.
        """
        record.ended("streaming", 200)
        await self._write(record)

    def enter(self, record: Record, authorization: str | None) -> None:
        """Let a request in.

        Raises:
            WireError: 401, a key is asked for and none fits.
        """
        if self.keys is None:
            return
        record.key = self.keys.which(authorization)
        if record.key is None:
            record.trouble = "unauthorized"
            told = self.keys.refusal()["error"]
            raise WireError(401, told["message"], told["type"], None, told["code"], {"WWW-Authenticate": "Bearer"})

    async def ask(self, record: Record, body: object, *, plain: bool = False) -> tuple[chat.Asked, Exchange]:
        """Read a chat request and put it into the queue.

        Raises:
            WireError: it cannot be taken.
        """
        asked = await asyncio.to_thread(self._read, record, body, plain)
        exchange = Exchange.of(record.id, asked, self.settings.deadline, plain=plain)
        try:
            self.queue.put(exchange.job)
        except Full as error:
            record.trouble = "queue_full"
            raise WireError(
                429, str(error), "rate_limit_error", None, "queue_full", {"Retry-After": str(error.after)}
            ) from None
        except Closed as error:
            raise WireError(503, str(error), "server_error", None, "closing", {"Retry-After": "10"}) from None
        record.plain = plain
        self.metrics.waiting(len(self.queue))
        return asked, exchange

    def _read(self, record: Record, body: object, plain: bool) -> chat.Asked:
        """Read and check a chat request: all that takes a while, in one go."""
        asked = chat.read(body, self.settings, self.names, id=record.id, fetch=self.fetch, room=self.room)
        record.model, record.sample, record.received = self.engine.name, asked.sample, asked.received
        if plain and asked.moderation is not None:
            raise WireError(
                400, "moderation: nothing is inspected on this route. Leave it out.", param="moderation",
                code="unsupported_parameter",
            )  # fmt: skip
        self._check(asked.sample, "messages")
        return asked

    async def inspect(self, record: Record, body: object) -> tuple[moderations.Inputs, list[Inspection]]:
        """Read a moderation request and look at it.

        Raises:
            WireError: it cannot be taken, or not be looked at.
        """
        inputs = await asyncio.to_thread(
            moderations.read, body, self.settings, self.names, id=record.id, fetch=self.fetch, room=self.room
        )
        record.model = INSPECTOR
        if self._inspections >= self.settings.queue:
            record.trouble = "queue_full"
            raise WireError(
                429, "too many inspections wait.", "rate_limit_error", None, "queue_full", {"Retry-After": "1"}
            )
        self._inspections += 1
        try:
            await asyncio.wait_for(self._inspecting.acquire(), self.settings.deadline)
            try:  # the model looks at one request at a time
                return inputs, await asyncio.to_thread(self._inspect, inputs.samples)
            finally:
                self._inspecting.release()
        except TimeoutError:
            record.trouble = "deadline"
            raise trouble(Failed("deadline", "")) from None  # type: ignore[misc]
        finally:
            self._inspections -= 1

    def _inspect(self, samples: tuple[Sample, ...]) -> list[Inspection]:
        for sample in samples:
            self._check(sample, "input")
        try:
            return self.engine.inspect(samples)
        except DataError as error:
            raise _data_error(error, "input") from None

    def _check(self, sample: Sample, param: str) -> None:
        try:
            self.engine.check(sample)
        except DataError as error:
            raise _data_error(error, param) from None

    async def _write(self, record: Record) -> None:
        if self.audit is None:
            return
        try:
            await asyncio.to_thread(self.audit.write, record.entry())
        except Exception:
            self.metrics.error("log")
            record.ended("failed", 503)
            log.exception("a request could not be logged, so it is not answered")
            raise WireError(
                503, "this server cannot write its audit log, and answers nothing that is not logged.", "server_error",
                None, "log_unavailable", {"Retry-After": "60"},
            ) from None  # fmt: skip


def _data_error(error: DataError, param: str) -> WireError:
    code = "context_length_exceeded" if isinstance(error, PromptTooLong) else "invalid_value"
    return WireError(400, f"{param}: {error}", param=param, code=code)
