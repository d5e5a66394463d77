"""Thresholds for a promised rate: the bound is scipy's, the promise holds on fresh requests, and what cannot be promised is refused."""

from __future__ import annotations

import pytest
from scipy.stats import beta

from sightguard.errors import CannotCertify, DataError
from sightguard.safevlm.thresholds import calibrate
from sightguard.types import Sample
from tests.safevlm import made


def benign(n: int, first: int = 0) -> list[Sample]:
    return [
        Sample.of(f"what is in picture {i} ?", made.picture(i * 7 % 200, i), id=f"b{i}")
        for i in range(first, first + n)
    ]


def test_the_bound_is_scipys_and_the_promise_holds_on_fresh_requests() -> None:
    safe = made.safe()
    loud = sum(safe.policy.decide(risk).action != "answer" for risk in safe.risks(benign(200)) if risk)
    assert loud > 100, "untrained modules flag nearly everything"
    quiet, certificate = calibrate(safe, benign(240), max_false_refusal=0.1)
    n, k = certificate.n, certificate.flagged
    assert certificate.upper_bound == pytest.approx(beta.ppf(0.95, k + 1, n - k))
    assert certificate.holds
    assert set(certificate.thresholds) == set(safe.taxonomy.risks) == set(quiet.policy.thresholds)
    fresh = [quiet.policy.decide(risk).action != "answer" for risk in quiet.risks(benign(300, first=1000)) if risk]
    assert sum(fresh) / len(fresh) <= 0.1
    assert safe.policy.thresholds == {}


def test_too_few_requests_say_how_many_are_needed() -> None:
    with pytest.raises(CannotCertify, match="349 in all"):
        calibrate(made.safe(), benign(100), max_false_refusal=0.01)


def test_a_test_split_is_refused() -> None:
    secret = [Sample.of("x", made.picture(3), id=f"t{i}", source="pocket-world@1/test") for i in range(400)]
    with pytest.raises(DataError, match="test"):
        calibrate(made.safe(), secret)
