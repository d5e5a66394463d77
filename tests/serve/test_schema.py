"""Requests made up from the server's own description, right ones and wrong ones: no fault of the server's, and replies as described."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from tests.serve.servers import Process

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
SHARES = {"/v1/chat/completions": 0.3, "/v1/moderations": 0.15}
"""Of the time, for wrong requests and for right ones; the other routes take what is left."""


class Over(BaseException):
    """The time is over; no failure for hypothesis."""


def asked(pocket: Process, seconds: float) -> Counter[int]:
    """Ask until the time is over; return how often each status came."""
    base = f"http://127.0.0.1:{pocket.port}"
    found: Counter[int] = Counter()
    for operation in schemathesis.openapi.from_url(f"{base}/openapi.json").get_all_operations():
        assert isinstance(operation, Ok), operation
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            path = operation.ok().path
            if mode is GenerationMode.POSITIVE or path in SHARES:  # in the others nothing could be wrong
                end = time.monotonic() + seconds * SHARES.get(path, 0.02)
                ask_until(end, operation.ok().as_strategy(generation_mode=mode), base, found)
    return found


def ask_until(end: float, cases: SearchStrategy[Case[Any]], base: str, found: Counter[int]) -> None:
    @seed(1)
    @settings(
        max_examples=100_000,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def one(case: Case[Any]) -> None:
        if time.monotonic() > end:
            raise Over
        response = case.call(base_url=base, timeout=60)
        found[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    with suppress(Over):
        one()


def check(found: Counter[int]) -> None:
    assert not [status for status in found if status >= 500]
    assert found[200]
    assert found[400] > 20


def test_what_the_description_allows_and_forbids_is_answered_as_described(pocket: Process) -> None:
    check(asked(pocket, 25))


@pytest.mark.slow
def test_the_same_for_five_minutes(pocket: Process) -> None:
    check(asked(pocket, 300))
