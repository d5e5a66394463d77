"""The null-space constraint: what it promises of benign states, and that harmful ones still move."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sightguard.errors import DataError, UsageError
from sightguard.models.vlm import VLM
from sightguard.pocket import world
from sightguard.steering.activations import capture
from sightguard.steering.null_space import benign_span, outside
from sightguard.steering.steer import steer
from sightguard.steering.vlm_guard import VlmGuard

LAYER, TOLERANCE = 5, 0.1


@pytest.fixture(scope="module")
def pocket() -> VLM:
    return replace(VLM.load("pocket"), batch=64)


def test_the_span_by_hand() -> None:
    states = torch.tensor([[[3.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])  # energies 9 and 1
    assert [len(benign_span(states, tolerance)[0]) for tolerance in (0.2, 0.1, 0.05)] == [1, 1, 2]
    left = outside(states, benign_span(states, 0.2))
    torch.testing.assert_close(left, torch.tensor([[[0.0, 0, 0], [0, 1, 0]]], dtype=torch.float64))


@pytest.mark.parametrize("tolerance", [0.3, 0.1, 0.01])
def test_no_more_than_the_tolerance_stays_outside_and_no_row_too_many_is_taken(tolerance: float) -> None:
    states = torch.randn(2, 40, 12, generator=torch.manual_seed(0)) * torch.linspace(0.1, 3, 12)
    spans = benign_span(states, tolerance)
    shares = outside(states, spans).square().sum((1, 2)) / states.double().square().sum((1, 2))
    assert (shares <= tolerance).all()
    fewer = outside(states, [span[:-1] for span in spans]).square().sum((1, 2)) / states.double().square().sum((1, 2))
    assert (fewer > tolerance).all()


def test_without_a_gate_benign_states_move_by_less_than_promised_and_harmful_ones_by_more(pocket: VLM) -> None:
    benign = [sample for sample in world.calibration(500, seed=1) if sample.images]
    made = VlmGuard.fit(
        pocket,
        world.anchors(60),
        estimator="mean_difference",
        layers=[LAYER],
        m=32,
        gate="always",
        spare=benign,
        tolerance=TOLERANCE,
    )
    plain = VlmGuard.fit(pocket, world.anchors(60), estimator="mean_difference", layers=[LAYER], m=32, gate="always")
    harmful = world.settings("validation", 60)["blank_image"]

    def moved(guard: VlmGuard, prompts: list[object]) -> float:
        before = capture(pocket, prompts, layers=[LAYER])[0]  # type: ignore[arg-type]
        after = steer(pocket, guard).states(prompts, [LAYER])[0]  # type: ignore[arg-type]
        return float(((after - before).square().sum(1).mean() / before.square().sum(1).mean()).sqrt())

    # the promise is for prompts and references together; each is about half of the energy that was read
    epsilon = (1 + made.alpha) * (2 * TOLERANCE) ** 0.5
    assert moved(made, list(benign)) <= epsilon
    assert moved(made, list(harmful)) > moved(made, list(benign))
    assert moved(made, list(benign)) < moved(plain, list(benign)) / 2


def test_what_was_spared_is_kept_with_the_guard(pocket: VLM) -> None:
    spare = world.calibration(60)
    known = VlmGuard.fit(pocket, world.anchors(20), spare=spare).directions.provenance
    assert (known["spared"], known["tolerance"], len(known["kept_out"])) == (60, 0.01, 6)


def test_what_cannot_be_meant_is_refused(pocket: VLM) -> None:
    with pytest.raises(UsageError, match="tolerance lies above 0 and below 1; got 0"):
        benign_span(torch.ones(1, 2, 3), 0)
    with pytest.raises(DataError, match="expected benign states"):
        benign_span(torch.ones(1, 0, 3))
    with pytest.raises(DataError, match="cannot be used for fitting"):
        VlmGuard.fit(pocket, world.anchors(20), spare=world.settings("test", 4)["benign_image"])
