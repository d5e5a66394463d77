from __future__ import annotations

import subprocess
import sys

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from sightguard.errors import MissingExtra
from sightguard.serve.job import GuardId, LayerGate, Proof
from sightguard.serve.metrics import Metrics

GUARD = GuardId('guards/"mine"\n\\', "ab" * 32)
Sample = tuple[str, frozenset[tuple[str, str]]]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(GUARD, rules=["privacy/2:may_refuse", "privacy/3:refuse"])


def read(metrics: Metrics) -> dict[Sample, float]:
    """The page of /metrics as Prometheus' own parser reads it."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return read(metrics).get((f"sightguard_{name}", frozenset(labels.items())))


def gate(*fired: bool) -> Proof:
    return Proof({}, gate=tuple(LayerGate(layer, 1.0, 0.5, did) for layer, did in enumerate(fired)))


def test_what_happens_is_counted(metrics: Metrics) -> None:
    chat = "/v1/chat/completions"
    metrics.answered(chat, 200, 0.3)
    metrics.answered(chat, 200, 0.3)
    metrics.answered(chat, 429, 0.001)
    metrics.first_token(0.2)
    metrics.tokens(30, 4)
    metrics.tokens(10, 0)
    metrics.refused("privacy/3:refuse")
    for proof in (gate(True, False), gate(False, False), gate()):
        metrics.seen(proof)
    metrics.waiting(7)
    metrics.waiting(3)
    metrics.batch(5)
    metrics.error("out_of_memory")
    metrics.bypassed()
    assert value(metrics, "requests_total", route=chat, status="200") == 2
    assert value(metrics, "requests_total", route=chat, status="429") == 1
    assert value(metrics, "request_seconds_bucket", route=chat, le="0.25") == 1
    assert value(metrics, "request_seconds_bucket", route=chat, le="0.5") == 3
    assert value(metrics, "request_seconds_sum", route=chat) == pytest.approx(0.601)
    assert value(metrics, "first_token_seconds_count") == 1
    assert value(metrics, "tokens_total", kind="prompt") == 40
    assert value(metrics, "tokens_total", kind="answer") == 4
    assert value(metrics, "refusals_total", rule="privacy/3:refuse") == 1
    assert (value(metrics, "gate_asked_total"), value(metrics, "gate_fired_total")) == (2, 1)
    assert value(metrics, "queue_jobs") == 3
    assert value(metrics, "batch_jobs_bucket", le="4.0") == 0
    assert value(metrics, "batch_jobs_bucket", le="8.0") == 1
    assert value(metrics, "errors_total", kind="out_of_memory") == 1
    assert value(metrics, "bypasses_total") == 1
    assert value(metrics, "guard_info", id=GUARD.id, sha256=GUARD.sha256) == 1


def test_counters_that_an_alarm_watches_are_there_before_anything_happens(metrics: Metrics) -> None:
    for name in ("bypasses_total", "gate_asked_total", "gate_fired_total", "queue_jobs"):
        assert value(metrics, name) == 0


def test_a_client_cannot_make_series(metrics: Metrics) -> None:
    for number in range(50):
        metrics.answered(f"/made/up/{number}", 1000 + number, 0.1)
        metrics.refused(f"made up {number}")
        metrics.error(f"made up {number}")
    metrics.refused(None)
    assert value(metrics, "requests_total", route="other", status="other") == 50
    assert value(metrics, "refusals_total", rule="other") == 51
    assert value(metrics, "errors_total", kind="other") == 50
    assert not any("made" in text for _, labels in read(metrics) for _, text in labels)


def test_two_servers_of_one_process_count_apart_and_leave_the_global_registry_alone(metrics: Metrics) -> None:
    other = Metrics(GUARD)
    other.bypassed()
    assert value(metrics, "bypasses_total") == 0
    assert not [family.name for family in REGISTRY.collect() if family.name.startswith("sightguard")]


def test_without_its_package_the_extra_is_named() -> None:
    code = "import sys; sys.modules['prometheus_client'] = None; import sightguard.serve.metrics"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"{MissingExtra.__name__}: the server's /metrics needs the package 'prometheus-client'" in done.stderr
    assert "sightguard[serve]" in done.stderr
