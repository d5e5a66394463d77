from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sightguard.errors import DataError
from sightguard.steering.gates import accuracy, anchored, calibrated

scores = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=30)
coarse = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=30)


def threshold(harmful: list[float], benign: list[float], share: float) -> float:
    return float(calibrated(torch.tensor([harmful]), torch.tensor([benign]), max_false_fire=share)[0])


def fired(values: list[float], limit: float) -> float:
    return sum(value > limit for value in values) / len(values)


@pytest.mark.parametrize(
    ("harmful", "benign", "share", "expected"),
    [
        ([4.0, 6.0], [0.0, 2.0], 0.0, 3.0),  # apart: in the middle of the gap
        ([1.0, 4.0, 6.0], [0.0, 2.0], 0.0, 3.0),  # one harmful is lost, no benign is hit
        ([1.0, 4.0, 6.0], [0.0, 2.0], 0.5, 0.5),  # one of two benign may be hit, so no harmful one is lost
        ([3.0, 4.0], [0.0, 1.0], 1.0, 2.0),  # both may be hit, and neither has to be
        ([1.0], [2.0], 0.0, 3.0),  # the wrong way round: nothing fires
    ],
)
def test_the_calibrated_threshold_by_hand(
    harmful: list[float], benign: list[float], share: float, expected: float
) -> None:
    assert threshold(harmful, benign, share) == expected


def test_of_equally_good_thresholds_the_one_with_the_widest_gap_is_taken() -> None:
    # above 4, 5 and 6 fire on the same prompts of each kind; the widest gap is that of 3 and 9
    assert threshold([9.0], [1.0, 3.0], 0.5) == 6.0


@given(harmful=scores, benign=scores, share=st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]))
def test_a_calibrated_gate_never_fires_on_more_benign_prompts_than_allowed(
    harmful: list[float], benign: list[float], share: float
) -> None:
    assert fired(benign, threshold(harmful, benign, share)) <= share


@given(harmful=coarse, benign=coarse, share=st.sampled_from([0.0, 0.1, 0.5]))
def test_no_allowed_threshold_is_better_than_the_calibrated_one(
    harmful: list[float], benign: list[float], share: float
) -> None:
    def quality(limit: float) -> tuple[float, float]:
        return fired(harmful, limit), -fired(benign, limit)

    every = [value / 2 for value in range(-9, 10)]
    best = max(quality(limit) for limit in every if fired(benign, limit) <= share)
    assert quality(threshold(harmful, benign, share)) == pytest.approx(best)


def test_the_anchored_threshold_by_hand() -> None:
    benign = torch.arange(101.0)[None].repeat(2, 1)
    assert anchored(torch.tensor([50.0, 200.0]), benign).tolist() == pytest.approx([98.0, 200.0])


@given(benign=st.lists(scores, min_size=1, max_size=3).filter(lambda rows: len({len(r) for r in rows}) == 1))
def test_an_anchored_threshold_is_never_below_the_midpoint(benign: list[list[float]]) -> None:
    midpoints = torch.linspace(-50, 50, len(benign))
    limits = anchored(midpoints, torch.tensor(benign))
    assert (limits >= midpoints).all()
    assert all(fired(row, float(limit)) <= 0.02 + 1 / len(row) for row, limit in zip(benign, limits, strict=True))


@pytest.mark.parametrize("empty", [torch.zeros(2, 0), torch.zeros(3)])
def test_thresholds_without_prompts_are_refused(empty: Tensor) -> None:
    with pytest.raises(DataError, match="scores of at least one prompt"):
        anchored(torch.zeros(2), empty)
    with pytest.raises(DataError, match="scores of at least one prompt"):
        calibrated(torch.ones(2, 3), empty, max_false_fire=0.0)


def test_balanced_accuracy_counts_both_kinds_alike() -> None:
    assert accuracy([True, True, False, False], [False] * 9 + [True]) == pytest.approx((0.5 + 0.9) / 2)
