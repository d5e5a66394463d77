"""What one server holds, and the way of a request through it; the routes (`sightguard.serve.app`) only translate."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from sightguard.errors import DataError, PromptTooLong
from sightguard.serve.exchange import Exchange
from sightguard.serve.fetch import Fetcher
from sightguard.serve.job import Engine, Inspection, no_memory
from sightguard.serve.keys import Keys
from sightguard.serve.log import AuditLog
from sightguard.serve.metrics import Metrics
from sightguard.serve.queue import Closed, Full, Queue
from sightguard.serve.record import Record
from sightguard.serve.room import Room
from sightguard.serve.settings import Settings
from sightguard.serve.threads import Pool, Threads, has_address
from sightguard.serve.waiting import Waiting, failed, heed
from sightguard.serve.wire import chat, moderations
from sightguard.serve.wire.errors import WireError
from sightguard.serve.wire.pictures import keep_texts_short
from sightguard.serve.wire.refusals import WORDS
from sightguard.serve.wire.shapes import MAX_PARTS

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
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), init=False, repr=False)
    """Of this start: who asks for an answer without the guard must know it."""
    metrics: Metrics = field(init=False)
    queue: Queue = field(init=False)
    fetch: Callable[[str], bytes] | None = field(init=False)
    room: Room = field(init=False)
    """For pictures that are decoded as requests come in."""
    threads: Threads = field(init=False, repr=False)

    def __post_init__(self) -> None:
        settings = self.settings
        keep_texts_short()
        self.threads = Threads(settings.queue)
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

    def waiting(self, record: Record) -> Waiting:
        """Return who waits for a request: until the deadline, from when the request came in."""
        return Waiting(record.began, self.settings.deadline)

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

    async def ask(
        self, record: Record, waiting: Waiting, body: object, *, plain: bool = False
    ) -> tuple[chat.Asked, Exchange]:
        """Read a chat request and put it into the queue.

        Raises:
            WireError: it cannot be taken.
        """
        asked = await self._readers(body).run(lambda: self._read(record, body, plain), waiting)
        exchange = Exchange.of(record.id, asked, waiting, plain=plain)
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

    def _readers(self, body: object) -> Pool:
        """Return who reads a request: one whose pictures have to be fetched holds up no other."""
        slow = self.fetch is not None and has_address(body, self.settings.max_messages + MAX_PARTS)
        return self.threads.fetching if slow else self.threads.reading

    async def inspect(
        self, record: Record, waiting: Waiting, body: object
    ) -> tuple[moderations.Inputs, list[Inspection]]:
        """Read a moderation request and look at it.

        Raises:
            WireError: it cannot be taken, or not be looked at.
        """
        inputs = await self._readers(body).run(lambda: self._inputs(record, body), waiting)
        found = await self.threads.looking.run(lambda: self._look(inputs.samples), waiting)
        record.looked(found)
        return inputs, found

    def _inputs(self, record: Record, body: object) -> moderations.Inputs:
        inputs = moderations.read(body, self.settings, self.names, id=record.id, fetch=self.fetch, room=self.room)
        record.model, record.sample, record.received = INSPECTOR, inputs.together(record.id), inputs.total()
        for sample in inputs.samples:
            self._check(sample, "input")
        return inputs

    def _look(self, samples: tuple[Sample, ...]) -> list[Inspection]:
        """Look batch by batch, while somebody waits."""
        found: list[Inspection] = []
        try:
            for first in range(0, len(samples), self.engine.batch):
                heed()
                found += self.engine.inspect(samples[first : first + self.engine.batch])
        except DataError as error:
            raise _data_error(error, "input") from None
        except Exception as error:
            if no_memory(error):
                raise failed("out_of_memory") from None
            raise
        return found

    def _check(self, sample: Sample, param: str) -> None:
        try:
            self.engine.check(sample)
        except DataError as error:
            raise _data_error(error, param) from None

    async def _write(self, record: Record) -> None:
        if self.audit is None:
            return
        try:
            await self.threads.write(partial(self.audit.write, record.entry()))
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
