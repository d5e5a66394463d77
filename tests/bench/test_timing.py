"""Defenses are timed as they stand: on a clock that goes by what the model is made to do, each ratio is known beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest

from sightguard.bench.defenses import Defense
from sightguard.bench.timing import SILENT, TOO_FAST, Timing
from sightguard.models.length import exactly, fixed_length
from sightguard.steering.steer import steer
from sightguard.types import Generate, Response, Sample
from tests import tiny

PREFILL, DECODE = 10.0, 1.0
"""Seconds that the made-up model takes for a prompt, and for a token of its answer."""
SAMPLES = [Sample.of(f"how do i find the lamp number {i} ?", tiny.picture(i), id=f"s{i}") for i in range(4)]


@dataclass
class Clock:
    """A clock that only moves when somebody works."""

    now: float = 0.0
    tokens: list[int] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def model(self, samples: Sequence[Sample]) -> list[Response]:
        tokens = fixed_length().get("max_new_tokens", 99)
        self.tokens.append(tokens)
        self.now += len(samples) * (PREFILL + DECODE * tokens)
        return [Response("x " * tokens, answer_tokens=tokens) for _ in samples]


def costs(
    clock: Clock, *guards: tuple[str, Generate], forget: Callable[[], None] | None = None, tokens: int = 11
) -> dict:  # type: ignore[type-arg]
    made = [Defense("none", ("none",), clock.model)]
    made += [Defense(name, (name,), generate, forget=forget) for name, generate in guards]
    return Timing(made, SAMPLES, tokens=tokens, clock=clock).costs()


def test_a_defense_that_asks_twice_costs_twice() -> None:
    clock = Clock()

    def twice(samples: Sequence[Sample]) -> list[Response]:
        first, second = clock.model(samples), clock.model(samples)
        return [replace(b, answer_tokens=a.answer_tokens + b.answer_tokens) for a, b in zip(first, second, strict=True)]

    found = costs(clock, ("twice", twice))
    assert found["none"]["prefill_ratio"] == found["none"]["decode_ratio"] == 1
    assert found["none"]["prefill_seconds"] == 4 * (PREFILL + DECODE)
    assert found["none"]["decode_seconds"] == pytest.approx(4 * DECODE)
    assert found["twice"]["prefill_ratio"] == found["twice"]["decode_ratio"] == pytest.approx(2)
    assert found["twice"]["prefill_range"] == pytest.approx([2, 2])
    assert (found["twice"]["n"], found["twice"]["n_decode"], found["twice"]["note"]) == (4, 4, None)


def test_reading_twice_and_writing_once_is_told_apart_from_slow_writing() -> None:
    clock = Clock()

    def reads(samples: Sequence[Sample]) -> list[Response]:
        clock.now += 11 * len(samples)
        return clock.model(samples)

    def writes(samples: Sequence[Sample]) -> list[Response]:
        clock.now += 2 * len(samples) * fixed_length()["max_new_tokens"]
        return clock.model(samples)

    found = costs(clock, ("reads", reads), ("writes", writes))
    assert (found["reads"]["prefill_ratio"], found["reads"]["decode_ratio"]) == pytest.approx((2, 1))
    assert (found["writes"]["prefill_ratio"], found["writes"]["decode_ratio"]) == pytest.approx((13 / 11, 3))


def test_the_median_of_the_rounds_counts_and_the_spread_is_told() -> None:
    clock, calls = Clock(), []

    def uneven(samples: Sequence[Sample]) -> list[Response]:
        calls.append(1)
        # a short and a long answer to warm up and in each round; the second short one takes very long
        clock.now += 44 * 8 if len(calls) == 5 else 44
        return clock.model(samples)

    found = costs(clock, ("uneven", uneven))["uneven"]
    assert found["prefill_ratio"] == 2
    assert found["prefill_range"] == [2, 9]


def test_where_a_verdict_answers_there_is_no_decoding() -> None:
    clock = Clock()

    def verdict(samples: Sequence[Sample]) -> list[Response]:
        clock.now += 5.5 * len(samples)
        return [Response("No.", refused_by="the head") for _ in samples]

    found = costs(clock, ("verdict", verdict))["verdict"]
    assert found["prefill_ratio"] == 0.5
    assert (found["decode_ratio"], found["decode_range"], found["n_decode"]) == (None, None, 0)
    assert found["note"] == SILENT


def test_decoding_is_compared_on_the_prompts_on_which_the_model_speaks() -> None:
    clock = Clock()

    def sometimes(samples: Sequence[Sample]) -> list[Response]:
        through = [sample for sample in samples if sample.id != "s0"]
        answered = iter(clock.model(through))
        clock.now += 2 * fixed_length()["max_new_tokens"] * len(through)
        return [
            next(answered) if sample in through else Response("No.", refused_by="the head", answer_tokens=2)
            for sample in samples
        ]

    found = costs(clock, ("sometimes", sometimes))["sometimes"]
    assert found["n_decode"] == 3
    assert found["decode_ratio"] == pytest.approx(3), "not 9/4, as against the undefended model on all four"


def test_a_prompt_that_takes_other_steps_for_a_long_answer_is_left_out() -> None:
    clock = Clock()

    def checks(samples: Sequence[Sample]) -> list[Response]:
        again = fixed_length()["max_new_tokens"] > 1
        answers = [replace(one, answer_tokens=one.answer_tokens * (1 + again)) for one in clock.model(samples)]
        return [*answers[:1], *clock.model(samples[1:])]

    assert costs(clock, ("checks", checks))["checks"]["n_decode"] == 3


def test_what_is_remembered_is_forgotten_for_the_first_token_and_known_for_the_others() -> None:
    clock = Clock()
    known: set[str] = set()

    def reference(samples: Sequence[Sample]) -> list[Response]:
        clock.now += 11 * len({sample.id for sample in samples} - known)
        known.update(sample.id for sample in samples)
        return clock.model(samples)

    found = costs(clock, ("reference", reference), forget=known.clear)["reference"]
    assert (found["prefill_ratio"], found["decode_ratio"]) == pytest.approx((2, 1))


def test_a_crash_is_named_by_its_kind_and_costs_the_others_nothing() -> None:
    clock = Clock()

    def crashing(samples: Sequence[Sample]) -> list[Response]:
        raise RuntimeError("words of a prompt")

    found = costs(clock, ("crashing", crashing), ("plain", clock.model))
    assert found["crashing"]["note"] == "RuntimeError"
    assert found["crashing"]["prefill_ratio"] is found["crashing"]["decode_ratio"] is None
    assert found["plain"]["prefill_ratio"] == 1


def test_answers_of_one_token_have_no_further_ones_and_a_still_clock_tells_nothing() -> None:
    found = costs(Clock(), tokens=1)["none"]
    assert (found["prefill_ratio"], found["decode_ratio"]) == (1, None)
    clock = Clock()
    found = Timing([Defense("none", ("none",), clock.model)], SAMPLES, clock=lambda: 0.0).costs()["none"]
    assert (found["prefill_ratio"], found["decode_ratio"], found["note"]) == (None, None, TOO_FAST)


@pytest.mark.usefixtures("one_thread")
def test_answers_of_a_real_model_have_the_length_that_is_asked_for() -> None:
    vlm = tiny.vlm()
    guarded = steer(vlm, tiny.guard(vlm, reference="caption"))
    natural = [len(response.text) for response in vlm(SAMPLES)]
    for generate in (vlm.generate, guarded.generate):
        for tokens in (1, 9):
            with exactly(tokens):
                assert [response.answer_tokens for response in generate(SAMPLES)] == [tokens] * len(SAMPLES)
    captions = guarded.memory.captions.values()
    assert len(captions) == len(SAMPLES)
    assert max(map(len, captions)) > 1, "captions were cut to a token, of a letter each"
    with exactly(1):
        assert vlm.generate(SAMPLES[:1], max_new_tokens=4)[0].answer_tokens > 1, "a length that is stated holds"
    assert [len(response.text) for response in vlm(SAMPLES)] == natural
