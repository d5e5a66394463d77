"""Which prompts set which threshold; every number by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sightguard.errors import DataError
from sightguard.models.vlm import VLM
from sightguard.steering.calibrate import Scores, score, with_thresholds
from sightguard.steering.method import text_rows
from sightguard.steering.vlm_guard import VlmGuard
from sightguard.types import Sample
from tests import tiny
from tests.steering import made

GUARD = VlmGuard(
    made.directions(torch.eye(4)[None, :1], [(0.0, 4.0)]), made.FINGERPRINT, (0,), m=1, threshold="midpoint"
)
TEXT = torch.tensor([[5.0, 6.0, 9.0, 1.0, 3.0]])
IMAGE = torch.tensor([[15.0, 16.0, 9.0, 11.0, 12.0]])
HARMFUL = torch.tensor([True, True, False, False, False])
PICTURED = torch.tensor([True, True, False, True, True])
SCORES = Scores((0,), TEXT, IMAGE, HARMFUL, PICTURED)


def test_where_text_is_spared_only_benign_prompts_with_a_picture_set_the_threshold() -> None:
    assert SCORES.thresholds(GUARD, "calibrated", max_false_fire=0.0) == {0: (4.0, 13.5)}
    assert SCORES.areas(GUARD) == [1.0]
    without = replace(SCORES, pictured=torch.zeros_like(HARMFUL))
    assert without.thresholds(GUARD, "calibrated", max_false_fire=0.0) == {0: (10.0, 13.5)}


@pytest.mark.parametrize("changes", [{"alpha": 1.5}, {"kind": "shift"}, {"phase": "prefill+decode"}])
def test_where_text_is_not_spared_every_benign_prompt_sets_it(changes: dict[str, object]) -> None:
    guard = replace(GUARD, **changes)  # type: ignore[arg-type]
    assert SCORES.thresholds(guard, "calibrated", max_false_fire=0.0) == {0: (10.0, 13.5)}
    assert SCORES.areas(guard)[0] == pytest.approx(4 / 6)


def test_an_anchored_threshold_stands_on_benign_picture_prompts_with_the_picture_removed() -> None:
    text, image = SCORES.thresholds(GUARD, "anchored", max_false_fire=0.0)[0]
    assert text == pytest.approx(1 + 0.98 * 2)
    assert image == pytest.approx(11 + 0.98)


def test_the_fixed_rules_do_not_look_at_prompts() -> None:
    assert SCORES.thresholds(GUARD, "literal", max_false_fire=0.0) == {0: (0.0, 0.0)}
    assert SCORES.thresholds(GUARD, "midpoint", max_false_fire=0.0) == {0: (2.0, 2.0)}


def test_the_gate_fires_where_the_thresholds_say() -> None:
    guard = with_thresholds(GUARD, SCORES, "calibrated", max_false_fire=0.0)
    assert SCORES.fired(guard) == (True, True, True, False, False)
    assert SCORES.fired(replace(guard, gate="image")) == (True, True, False, False, False)


@pytest.fixture(scope="module")
def vlm() -> VLM:
    return tiny.vlm()


def test_scores_are_those_of_the_reference_that_the_guard_reads(vlm: VLM) -> None:
    pictured = Sample.of("how do i do this ?", tiny.picture())
    words = Sample.of("one word")
    guard = VlmGuard.fit(vlm, tiny.pairs(), threshold="midpoint", caption_prompt="what ?")
    (text,) = score(vlm, [guard], [pictured], [words])
    (caption,) = score(vlm, [replace(guard, reference="caption")], [pictured], [words])
    (same,) = score(vlm, [replace(guard, reference="same_input")], [pictured], [words])
    assert torch.equal(same.text, same.image)
    assert not torch.allclose(caption.text[:, 0], text.text[:, 0])
    assert not torch.allclose(text.text[:, 0], text.image[:, 0])
    # without a picture there is one state, however it is read
    for scores in (text, caption, same):
        torch.testing.assert_close(scores.text[:, 1], scores.image[:, 1], rtol=1e-4, atol=1e-4)


def test_a_prompt_that_is_only_a_picture_and_blanks_is_read_through_its_caption(vlm: VLM) -> None:
    bare = Sample.of("  ", tiny.picture())
    assert text_rows(vlm, [bare, Sample.of("", tiny.picture())]) == [(), ()]
    guard = VlmGuard.fit(vlm, tiny.pairs(), threshold="midpoint", caption_prompt="what ?")
    (text,) = score(vlm, [guard], [bare], [Sample.of("one word")])
    (caption,) = score(vlm, [replace(guard, reference="caption")], [bare], [Sample.of("one word")])
    torch.testing.assert_close(text.text, caption.text)


def test_calibrating_on_a_test_split_is_refused(vlm: VLM) -> None:
    guard = VlmGuard.fit(vlm, tiny.pairs(), threshold="midpoint")
    held_out = replace(Sample.of("one word"), source="x@1/test")
    with pytest.raises(DataError, match=r"comes from a test split \(x@1/test\) and cannot be used for calibrating"):
        score(vlm, [guard], [held_out], [Sample.of("one word")])
