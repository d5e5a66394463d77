"""What a server counts, in Prometheus' format, in a registry of its own.

Every label is one of a known set: routes, rules and kinds of trouble that are not known are counted as "other", so that a client cannot
make new series. Nothing here holds content.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from sightguard.errors import MissingExtra
from sightguard.serve.job import GuardId, Proof, Trouble

try:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
    from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
except ImportError:
    raise MissingExtra("prometheus-client", "serve", "the server's /metrics") from None

ROUTES = (
    "/v1/chat/completions",
    "/v1/models",
    "/v1/moderations",
    "/healthz",
    "/readyz",
    "/metrics",
    "/",
    "/playground/plain",
    "/playground/outcome",
)
ERRORS = (
    *get_args(Trouble),
    "unauthorized",
    "queue_full",
    "too_large",
    "fetch",
    "log",
    "internal",
    "foreign_host",
    "local_only",
    "compare_secret",
)
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
OTHER = "other"
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_JOBS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The counters of one server.

    Args:
        guard: what stands in front of the model.
        rules: names of the policy's rules, and of whatever else refuses.
        routes: paths that the server knows.
    """

    def __init__(self, guard: GuardId, rules: Iterable[str] = (), routes: Iterable[str] = ROUTES) -> None:
        self.registry = CollectorRegistry()
        self._rules, self._routes = frozenset(rules), frozenset(routes)
        self._requests = self._counter("requests", "Requests that were answered.", "route", "status")
        self._seconds = self._histogram(
            "request_seconds", "Seconds until a request was answered whole.", _SECONDS, "route"
        )
        self._first = self._histogram("first_token_seconds", "Seconds until the first text of an answer.", _SECONDS)
        self._tokens = self._counter("tokens", "Tokens that were read (prompt) and written (answer).", "kind")
        self._refusals = self._counter("refusals", "Requests that the guard refused.", "rule")
        self._gate_asked = self._counter("gate_asked", "Requests that a gate looked at.")
        self._gate_fired = self._counter("gate_fired", "Requests that a gate fired on, at any layer.")
        self._queue = Gauge("sightguard_queue_jobs", "Requests that wait.", registry=self.registry)
        self._batch = self._histogram("batch_jobs", "Requests that were answered together.", _JOBS)
        self._errors = self._counter("errors", "Requests without an answer.", "kind")
        self._bypasses = self._counter("bypasses", "Answers without the guard, whole or broken off.")
        Info("sightguard_guard", "The guard in front of the model.", registry=self.registry).info(
            {"id": guard.id, "sha256": guard.sha256}
        )

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request at its end, whatever its end was."""
        known = route if route in self._routes else OTHER
        self._requests.labels(known, str(status) if 100 <= status <= 599 else OTHER).inc()
        self._seconds.labels(known).observe(seconds)

    def first_token(self, seconds: float) -> None:
        self._first.observe(seconds)

    def tokens(self, prompt: int, answer: int) -> None:
        self._tokens.labels("prompt").inc(prompt)
        self._tokens.labels("answer").inc(answer)

    def refused(self, rule: str | None) -> None:
        """Count a refusal by its rule."""
        self._refusals.labels(rule if rule in self._rules else OTHER).inc()

    def seen(self, proof: Proof) -> None:
        """Count what the gate said; `gate_fired / gate_asked` is its rate. A proof without a gate counts nothing."""
        if proof.gate:
            self._gate_asked.inc()
            self._gate_fired.inc(any(gate.fired for gate in proof.gate))

    def waiting(self, jobs: int) -> None:
        self._queue.set(jobs)

    def batch(self, jobs: int) -> None:
        self._batch.observe(jobs)

    def error(self, kind: str) -> None:
        """Count a request that has no answer, by `Trouble` or one of `ERRORS`."""
        self._errors.labels(kind if kind in ERRORS else OTHER).inc()

    def bypassed(self) -> None:
        """Count an answer without the guard."""
        self._bypasses.inc()

    def exposition(self) -> bytes:
        """Return the page of `/metrics`; its type is `CONTENT_TYPE`."""
        return generate_latest(self.registry)

    def _counter(self, name: str, help: str, *labels: str) -> Counter:
        return Counter(f"sightguard_{name}", help, labels, registry=self.registry)

    def _histogram(self, name: str, help: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"sightguard_{name}", help, labels, buckets=buckets, registry=self.registry)
