"""Who answers in the demo."""

from __future__ import annotations

from sightguard.demo.conditions import _Once, conditions
from sightguard.models.vlm import VLM
from sightguard.testing import FakeGenerate
from sightguard.types import Image, Sample
from tests import tiny


def test_each_distinct_prompt_is_asked_once_and_answers_come_back_in_order() -> None:
    model = FakeGenerate(lambda sample: sample.text.upper() + "!" * len(sample.images))
    once = _Once(model)
    picture = Image(data=b"x")
    asked = [Sample.of("a", id="1"), Sample.of("b", id="2"), Sample.of("a", id="3"), Sample.of("a", picture, id="4")]
    assert [answer.text for answer in once(asked)] == ["A", "B", "A", "A!"]
    assert [answer.text for answer in once(asked[::-1])] == ["A!", "A", "B", "A"]
    assert len(model.samples) == 3


def test_asking_once_changes_no_answer() -> None:
    vlm: VLM = tiny.vlm()
    samples = tiny.samples()
    plain, once = conditions(vlm, ()), conditions(vlm, (), once=True)
    for name in ("none", "text_only_model"):
        for _ in range(2):
            assert [a.text for a in once[name](samples)] == [a.text for a in plain[name](samples)]
