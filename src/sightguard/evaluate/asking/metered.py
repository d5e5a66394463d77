"""A remote model that is asked nothing twice, at a pace, and for no more than a sum of money.

    judge = Metered(Remote(url, "some-judge"), cache=ReplyCache("run/judge.jsonl"), pace=Pace(requests=60), prices=Prices(0.15, 0.6),
    purse=Purse(5.0))

It is a `Generate` like any other. The key of a question is the digest of model, prompt (pictures by their digest) and decoding; the address is no
part of it, so two endpoints that serve different models under one name need a file each.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

from sightguard.artifacts import sha256_json
from sightguard.errors import UsageError
from sightguard.evaluate.asking.cache import ReplyCache
from sightguard.evaluate.asking.pace import Pace
from sightguard.evaluate.asking.purse import Prices, Purse
from sightguard.evaluate.replies import SPENT
from sightguard.models.remote import Remote, at_once
from sightguard.types import Image, Response, Sample

PICTURE = 2000
"""Tokens that a picture is taken for where the endpoint has not said."""
LONGEST = 4096
"""Tokens that an answer is taken for where its length is not limited."""
PROBE = Sample.of("Hello. Reply with one word.", id="probe")
"""Asked before a run, so that a judge that is not there is told while nothing is spoilt."""
_NO_KEY = "no key "
_log = logging.getLogger(__name__)


class Metered:
    """Asks a `Remote` with care.

    Before a question is asked, the most that it can cost is set aside: a token for each byte of text, `PICTURE` for each picture, and the longest
    answer. Afterwards it costs what the endpoint says that it used, or what was set aside where it says nothing. A question that timed out costs
    what was set aside for each attempt, since an endpoint may charge for it; one that failed otherwise costs nothing. So the sum is kept to, but
    for timeouts and for pictures of more tokens. What a cached reply did cost is not counted again.

    Args:
        remote: who is asked.
        cache: replies on disk; None asks again in every run.
        pace: limits of the endpoint.
        prices: what it charges; needed with a purse.
        purse: what may be spent; several may share one.

    Raises:
        UsageError: a purse without prices.
    """

    def __init__(
        self,
        remote: Remote,
        *,
        cache: ReplyCache | None = None,
        pace: Pace | None = None,
        prices: Prices | None = None,
        purse: Purse | None = None,
    ) -> None:
        if purse is not None and prices is None:
            raise UsageError(
                "a sum that may be spent means nothing without prices: give the prices of a million tokens"
            )
        self.remote, self.cache, self.pace, self.prices, self.purse = remote, cache, pace, prices, purse
        self._lock = threading.Lock()
        self._counts = {"asked": 0, "cached": 0, "failed": 0, "not_asked": 0}
        self._spent = 0.0

    def __call__(self, samples: Sequence[Sample]) -> list[Response]:
        """Answer `samples`, each distinct question once.

        Raises:
            ModelError: the endpoint refuses the key, or knows no such model or address.
            OutputError: replies cannot be kept.
        """
        # a picture that cannot be read makes a key that no other question has, and its question fails by itself
        keys = [self.key(sample) or f"{_NO_KEY}{place}" for place, sample in enumerate(samples)]
        replies = {key: reply for key in keys if self.cache and (reply := self.cache.get(key)) is not None}
        open_questions = {key: sample for key, sample in zip(keys, samples, strict=True) if key not in replies}
        self._count("cached", len(samples) - len(open_questions))
        if open_questions:
            with self.remote.asking() as ask:
                by_sample = {id(sample): key for key, sample in open_questions.items()}
                found = at_once(
                    lambda sample: self._ask(ask, sample, by_sample[id(sample)]),
                    list(open_questions.values()),
                    self.remote.concurrency,
                )
            replies |= dict(zip(open_questions, found, strict=True))
        return [replies[key] for key in keys]

    def probe(self) -> Response | None:
        """Ask one short question, past the file of replies, and wait less for it than for others; None where the rest of the sum is too small.

        Raises:
            ModelError: the endpoint refuses the key, or knows no such model or address.
        """
        most = 0.0 if self.prices is None else self.prices.of(_most_tokens(PROBE), self._longest())
        if self.purse is not None and self.purse.spent + most > self.purse.most:
            return None
        remote = copy(self.remote)
        remote.retries = min(remote.retries, 2)
        with remote.asking() as ask:
            return self._ask(ask, PROBE, _NO_KEY)

    def key(self, sample: Sample) -> str | None:
        """Return what a question is found again by; None where a picture cannot be read."""
        try:
            turns = [
                [turn.role, *({"sha256": part.sha256} if isinstance(part, Image) else part for part in turn.parts)]
                for turn in sample.messages
            ]
        except OSError:
            return None
        whole = {"model": self.remote.model, "decoding": self.remote.decoding, "messages": turns}
        try:
            return sha256_json(whole)
        except UnicodeEncodeError:  # half a character, as broken data has them
            return None

    def report(self) -> dict[str, Any]:
        """Return what asking came to, as JSON: questions asked, answered from the file, failed and not asked; money spent, and whether it ran out."""
        money = {} if self.prices is None else {"spent": self._spent}
        limit = {} if self.purse is None else {"max_spend": self.purse.most}
        return {**self._counts, **money, **limit, "cap_reached": self._counts["not_asked"] > 0}

    def _ask(self, ask: Callable[[Sample], Response], sample: Sample, key: str) -> Response:
        size, longest = _most_tokens(sample), self._longest()
        most = 0.0 if self.prices is None else self.prices.of(size, longest)
        if self.purse is not None and not self.purse.hold(most):
            self._not_asked()
            return Response("", error=f"{SPENT}: {self.purse.most:g} may be spent, and the rest is too small")
        cost = 0.0
        try:
            sent = None if self.pace is None else self.pace.wait(size // 3 + longest // 8)
            reply = ask(sample)
            cost = self._cost(reply, most)
            used = reply.prompt_tokens + reply.answer_tokens
            if self.pace is not None and sent is not None and used:
                self.pace.settle(sent, used)
        finally:
            with self._lock:
                self._spent += cost
            if self.purse is not None:
                self.purse.settle(most, cost)
        self._count("asked" if reply.error is None else "failed")
        if self.cache is not None and not key.startswith(_NO_KEY):
            self.cache.put(key, reply)
        return reply

    def _cost(self, reply: Response, most: float) -> float:
        if self.prices is None:
            return 0.0
        if reply.prompt_tokens or reply.answer_tokens:
            return self.prices.of(reply.prompt_tokens, reply.answer_tokens)
        if reply.error is None:
            return most
        return most * (self.remote.retries + 1) if reply.error.startswith("APITimeoutError") else 0.0

    def _longest(self) -> int:
        told = (self.remote.decoding.get(name) for name in ("max_tokens", "max_completion_tokens"))
        return next((int(limit) for limit in told if isinstance(limit, int)), LONGEST)

    def _not_asked(self) -> None:
        assert self.purse is not None
        with self._lock:
            first = not self._counts["not_asked"]
        self._count("not_asked")
        if first:
            _log.warning(
                "the sum that judging may cost (%g) is used up: further answers stay undecided", self.purse.most
            )

    def _count(self, what: str, by: int = 1) -> None:
        with self._lock:
            self._counts[what] += by


def _most_tokens(sample: Sample) -> int:
    """Return the most tokens that a question has: no tokenizer makes more of a text than it has bytes, and a turn has a few of its own."""
    words = sum(
        len(part.encode("utf-8", "replace")) for turn in sample.messages for part in turn.parts if isinstance(part, str)
    )
    return words + 16 * len(sample.messages) + PICTURE * len(sample.images)
