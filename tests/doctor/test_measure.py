from __future__ import annotations

import pytest
import torch

from sightguard.doctor.edits import sampled
from sightguard.doctor.measure import apart, difference, likeness, rounded_edit, same_prompt
from sightguard.errors import ModelError
from sightguard.models.vlm import VLM
from tests import tiny


def test_a_difference_is_relative_to_the_spread_of_what_was_expected() -> None:
    expected = torch.tensor([[9.0, 11.0, 9.0, 11.0]])
    assert difference(expected + 0.1, expected).item() == pytest.approx(0.1, rel=1e-5)
    assert difference(5 * expected + 0.5, 5 * expected).item() == pytest.approx(0.1, rel=1e-5)
    assert difference(expected, expected).item() == 0
    assert difference(expected, torch.ones(1, 4)).item() == 1e6


def test_numbers_that_cannot_be_compared_are_an_error() -> None:
    row = torch.tensor([1.0, 2.0, -torch.inf])
    assert difference(row, row).item() == 0
    with pytest.raises(ModelError, match="not finite"):
        difference(row, torch.tensor([1.0, 2.0, 3.0]))
    with pytest.raises(ModelError, match="not finite"):
        difference(row * torch.nan, row * torch.nan)
    with pytest.raises(ModelError, match=r"shape \(2,\)"):
        difference(row, row[:2])


def test_results_are_told_apart_at_the_step_that_tells_them_best() -> None:
    rows = torch.tensor([[[0.0, 2.0], [0.0, 2.0]], [[0.0, 2.0], [2.0, 0.0]], [[2.0, 0.0], [0.0, 2.0]]])
    assert apart(rows) == pytest.approx(2.0)
    assert apart(rows[[0, 0, 1]]) == 0


@pytest.mark.parametrize(
    ("measured", "others", "status"),
    [(0.0, 1.0, "pass"), (0.1, 1.0, "pass"), (0.11, 1.0, "fail"), (0.0, 0.0, "fail"), (0.06, 0.1, "fail")],
)
def test_likeness_needs_inputs_that_differ(measured: float, others: float, status: str) -> None:
    assert likeness("x", measured, 0.1, others=others).status == status


def test_tolerances_follow_the_dtype_and_the_depth() -> None:
    def tolerances(dtype: torch.dtype, layers: int) -> tuple[float, float]:
        vlm = VLM(tiny.llava(layers=layers).to(dtype), tiny.processor())
        return same_prompt(vlm), rounded_edit(vlm)

    assert tolerances(torch.float32, 2) == (1e-4, 1e-6)
    assert tolerances(torch.bfloat16, 2) == (8 * 2**-8 * 2, 4 * 2**-8)
    assert tolerances(torch.bfloat16, 8) == (8 * 2**-8 * 4, 4 * 2**-8)
    assert tolerances(torch.float16, 8) == (8 * 2**-11 * 4, 4 * 2**-11)


def test_of_a_deep_model_the_first_and_the_last_layer_are_edited() -> None:
    assert sampled(3) == (0, 1, 2)
    assert sampled(32) == (0, 4, 9, 13, 18, 22, 27, 31)
