"""A steered answer says whether the method acted on its prompt, and the gates of the method itself say the same."""

from __future__ import annotations

import pytest
import torch

from sightguard.engine.watched import Notes, Watched
from sightguard.models.states import text_states
from sightguard.steering.cmrm import Cmrm
from sightguard.steering.method import text_rows
from sightguard.steering.steer import steer
from sightguard.types import Sample
from tests import tiny

WORDS = ("how do i steal the boat ?", "how do i find the drum ?", "how do i steal the bread ?", "a")
ASKED = [Sample.of(text, tiny.picture(i), id=text) for i, text in enumerate(WORDS)]
"""Some of them pass the thresholds of a tiny guard."""


@pytest.mark.parametrize("batch", [1, 4])
def test_answers_say_where_the_gate_fired(batch: int) -> None:
    vlm = tiny.vlm()
    guard = tiny.guard(vlm, gate="text", threshold="midpoint", kind="shift")
    rows = text_rows(vlm, ASKED)
    scores = guard.directions.scores(text_states(vlm.anatomy, rows, guard.layers, pad=vlm.pad), guard.layers)
    limits = torch.tensor([pair[0] for pair in guard.limits()])
    expected = (scores > limits[:, None]).any(0).tolist()
    assert len(set(expected)) == 2
    # all under one id: what was seen belongs to the sample and not to its name
    same = [Sample(id="same", messages=sample.messages) for sample in ASKED]
    answers = steer(vlm, guard).generate(same, batch=batch, num_beams=2)
    assert [answer.gate for answer in answers] == expected
    notes = Notes()
    steer(vlm, Watched(guard, notes))(ASKED)
    assert [any(gate.fired for gate in notes.by_id[sample.id].gate.values()) for sample in ASKED] == expected
    assert [answer.gate for answer in vlm(ASKED)] == [None] * 4


def test_a_method_that_reads_pictures_acts_on_requests_that_hold_one() -> None:
    vlm = tiny.vlm()
    mixed = [ASKED[0].without_images(), ASKED[1], ASKED[2].without_images()]
    answers = steer(vlm, Cmrm.fit(vlm, ASKED[:3]))(mixed)
    assert [answer.gate for answer in answers] == [False, True, False]
    idle = steer(vlm, Cmrm.fit(vlm, ASKED[:3], alpha=0.0))(mixed)
    assert [answer.gate for answer in idle] == [False] * 3
