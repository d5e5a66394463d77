"""An engine under strain: memory of a pass that failed, requests that come while it writes, texts without an end."""

from __future__ import annotations

import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import torch

from sightguard.engine.guarded import Guarded
from sightguard.engine.local import LocalEngine
from sightguard.errors import PromptTooLong
from sightguard.models.hooks import alone
from sightguard.models.vlm import VLM
from sightguard.serve.job import Done, GuardId
from sightguard.types import Sample
from tests import tiny
from tests.engine.asked import all_of

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def vlm() -> VLM:
    return replace(tiny.vlm(), max_new_tokens=12)


@pytest.fixture(scope="module")
def engine(vlm: VLM) -> LocalEngine:
    return LocalEngine(Guarded(vlm, tiny.guard(vlm)), "tiny", GuardId("test", "0" * 64))


def test_a_second_attempt_has_the_memory_of_the_first(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Guarded.write
    held: list[weakref.ref[torch.Tensor]] = []
    there: list[list[bool]] = []

    def fails_once(self: Guarded, samples: Any, row_of: Any, notes: Any) -> None:
        there.append([tensor() is not None for tensor in held])
        if not held:
            states = torch.zeros(10)
            held.append(weakref.ref(states))
            raise torch.OutOfMemoryError(f"out of memory at {states.shape}")
        write(self, samples, row_of, notes)

    monkeypatch.setattr(Guarded, "write", fails_once)
    asked = all_of(tiny.samples()[:4])
    engine.answer([one.job for one in asked])
    assert all(isinstance(one.last, Done) for one in asked)
    assert there == [[], [False], [False]]


def test_a_request_is_checked_while_the_model_answers_another(engine: LocalEngine, vlm: VLM) -> None:
    with alone(vlm.anatomy), ThreadPoolExecutor(1) as other:
        other.submit(engine.check, Sample.of("hello", id="x")).result(5)


def test_a_text_that_no_model_takes_is_not_read_to_find_that_out(engine: LocalEngine) -> None:
    sample = Sample.of("a b " * 5_000_000, id="x")
    began = time.monotonic()
    with pytest.raises(PromptTooLong, match="20,000,000 letters"):
        engine.check(sample)
    assert time.monotonic() - began < 1
