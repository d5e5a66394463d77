from __future__ import annotations

import pytest

from sightguard.errors import UsageError
from sightguard.testing import FakeGenerate
from sightguard.types import Generate, Sample


def test_fake_answers_in_the_order_asked_and_remembers() -> None:
    fake = FakeGenerate({"a": "1", "b": "2"})
    generate: Generate = fake
    assert [response.text for response in generate([Sample.of("b"), Sample.of("a")])] == ["2", "1"]
    assert [sample.text for sample in fake.samples] == ["b", "a"]
    assert generate([]) == []
    assert len(fake.calls) == 2


def test_fake_can_be_a_function() -> None:
    assert FakeGenerate(lambda sample: sample.id)([Sample.of("x", id="7")])[0].text == "7"


def test_fake_without_an_answer_says_what_it_knows() -> None:
    with pytest.raises(UsageError, match=r"no answer for 'c' \(sample 'sample'\). Known: \['a'\]"):
        FakeGenerate({"a": "1"})([Sample.of("c")])
