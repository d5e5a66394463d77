"""The joint probability, temperatures and calibration error."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

from sightguard.data.taxonomy import published
from sightguard.safevlm.verdict import calibration_error, fit_temperature, joint, risks


def logits(n: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(n, 7) * 3, torch.randn(n, 4) * 3


def test_marginals_sum_to_one_and_pairs_that_do_not_go_together_have_none() -> None:
    found = joint(*logits(), safe=6)
    torch.testing.assert_close(found.sum((1, 2)), torch.ones(40, dtype=torch.float64))
    torch.testing.assert_close(found.sum(2).sum(1), torch.ones(40, dtype=torch.float64))
    assert float(found[:, 6, 1:].abs().max()) == 0
    assert float(found[:, :6, 0].abs().max()) == 0


def test_a_hand_computed_example() -> None:
    """Two types (risk, safe), two levels: P(risk, 1) ~ .8 * .5, P(safe, 0) ~ .2 * .5, so .8 and .2."""
    types, levels = torch.tensor([[0.8, 0.2]]).log(), torch.tensor([[0.5, 0.5]]).log()
    found = joint(types, levels, safe=1)
    torch.testing.assert_close(
        found, torch.tensor([[[0.0, 0.8], [0.2, 0.0]]], dtype=torch.float64), rtol=1e-6, atol=1e-7
    )


def test_a_verdict_never_contradicts_itself() -> None:
    taxonomy = published()
    found = risks(joint(*logits(), safe=6), taxonomy)
    kinds = {risk.type for risk in found}
    assert len(kinds) > 3
    assert "safe" in kinds
    for risk in found:
        assert (risk.type == "safe") == (risk.level == 0)
        assert risk.p_unsafe == pytest.approx(1 - risk.p_types["safe"])
        assert sum(risk.p_types.values()) == pytest.approx(1)
        assert all((level == 0) == (kind == "safe") for kind, level in risk.levels.items())


def test_the_temperature_is_the_one_that_scipy_finds() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, 400)
    raw = rng.normal(size=(400, 5)) * 4
    raw[np.arange(400), truth] += 4.0

    def loss(log_t: float) -> float:
        scaled = torch.tensor(raw / np.exp(log_t)).softmax(1).numpy()
        return float(log_loss(truth, scaled))

    best = float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))
    found = fit_temperature(torch.tensor(raw), torch.tensor(truth))
    assert found == pytest.approx(best, rel=0.02)
    assert abs(found - 1) > 0.3, "the example must need a temperature"


def test_the_calibration_error_of_a_hand_computed_case() -> None:
    """Two say .9 and one is right: |.5 - .9|; two say .6 and both are right: |1 - .6|. Each weighs a half."""
    said = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]], dtype=torch.float64)
    assert calibration_error(said, torch.tensor([0, 1, 0, 0])) == pytest.approx(0.4)
    assert calibration_error(torch.eye(2, dtype=torch.float64), torch.tensor([0, 1])) == 0
