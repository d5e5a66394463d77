"""The figures of one layer, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score, silhouette_score
from torch import Tensor

from sightguard.diagnose.folds import folds
from sightguard.diagnose.layers import States, measure, safety_subspace, share_inside
from sightguard.diagnose.probe import RIDGE, probe_scores
from sightguard.diagnose.silhouette import silhouette
from sightguard.steering.transfer import transfer, unit_difference

SEED = 0


def clouds(pairs: int, hidden: int, apart: Tensor, seed: int = SEED) -> tuple[Tensor, Tensor]:
    """Harmful and harmless states of two layers; their means are `apart` from each other, `hidden`."""
    noise = torch.randn(2, 2, pairs, hidden, generator=torch.manual_seed(seed))
    return noise[0] + apart, noise[1]


def axis(hidden: int, at: int, length: float) -> Tensor:
    return length * torch.eye(hidden)[at]


@pytest.mark.parametrize("pairs", [8, 11, 40])
def test_folds_hold_out_every_pair_once_and_never_fit_on_it(pairs: int) -> None:
    found = folds(pairs, SEED)
    assert sorted(i for _, held_out in found for i in held_out.tolist()) == list(range(pairs))
    for fitted, held_out in found:
        assert not set(fitted.tolist()) & set(held_out.tolist())
        assert len(fitted) + len(held_out) == pairs
        assert len(held_out) >= 4
    assert folds(40, 1)[0][1].tolist() != folds(40, 2)[0][1].tolist()


def test_the_probe_is_scikit_learns_ridge_regression() -> None:
    harmful, harmless = clouds(30, 50, axis(50, 3, 2.0))
    states, labels = torch.cat([harmful[0], harmless[0]]), torch.arange(60) < 30
    fresh = torch.cat(clouds(10, 50, axis(50, 3, 2.0), seed=1), dim=1)[0]
    centred = states.double() - states.double().mean(0)
    penalty = RIDGE * float(centred.square().sum(1).mean())
    reference = Ridge(alpha=penalty).fit(states.double().numpy(), np.where(labels.numpy(), 1.0, -1.0))
    ours = probe_scores(states, labels, fresh).numpy()
    np.testing.assert_allclose(ours, reference.predict(fresh.double().numpy()), atol=1e-8)


def test_the_probe_does_not_depend_on_the_scale_of_a_layer() -> None:
    harmful, harmless = clouds(20, 30, axis(30, 0, 1.0))
    states, labels = torch.cat([harmful[0], harmless[0]]), torch.arange(40) < 20
    one, other = (probe_scores(scale * states, labels, scale * states) for scale in (1.0, 1024.0))
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)


def test_the_silhouette_is_scikit_learns() -> None:
    harmful, harmless = clouds(25, 12, axis(12, 2, 1.5))
    states, labels = torch.cat([harmful[1], harmless[1]]), torch.arange(50) < 25
    reference = silhouette_score(states.double().numpy(), labels.numpy())
    assert silhouette(states, labels) == pytest.approx(reference, abs=1e-9)


def test_the_area_along_a_direction_is_scikit_learns() -> None:
    harmful, harmless = clouds(25, 12, axis(12, 2, 1.0))
    directions = torch.stack([axis(12, 2, 1.0), axis(12, 5, 1.0)])
    found = transfer(directions, harmful, harmless)
    labels = [1] * 25 + [0] * 25
    for layer, at in ((0, 2), (1, 5)):
        scores = torch.cat([harmful[layer], harmless[layer]])[:, at].numpy()
        assert found[layer].auc == pytest.approx(roc_auc_score(labels, scores))


def test_a_direction_holds_beside_a_picture_only_if_it_ranks_and_points_the_same_way() -> None:
    harmful, harmless = clouds(60, 64, axis(64, 0, 3.0))
    along, across, against = (
        transfer(torch.stack([axis(64, at, sign)] * 2), harmful, harmless)[0]
        for at, sign in ((0, 1.0), (1, 1.0), (0, -1.0))
    )
    assert along.holds
    assert along.cosine > 0.8
    assert not across.holds
    assert not against.holds
    assert against.auc < 0.1


def test_the_unit_difference_is_of_length_one_and_zero_where_nothing_differs() -> None:
    harmful, harmless = clouds(9, 6, axis(6, 1, 2.0))
    assert unit_difference(harmful, harmless).norm(dim=1).tolist() == pytest.approx([1.0, 1.0])
    assert unit_difference(harmful, harmful).norm() == 0


def test_the_share_of_a_shift_is_one_inside_the_safety_subspace_and_zero_outside() -> None:
    differences = torch.randn(20, 16, generator=torch.manual_seed(SEED))
    subspace = safety_subspace(differences)
    assert subspace.shape == (4, 16)
    torch.testing.assert_close(subspace @ subspace.T, torch.eye(4, dtype=torch.float64), atol=1e-9, rtol=0)
    shift = torch.randn(16, generator=torch.manual_seed(1)).double()
    inside = subspace.T @ (subspace @ shift)
    assert share_inside(inside, subspace) == pytest.approx(1.0, abs=1e-12)
    assert share_inside(shift - inside, subspace) == pytest.approx(0.0, abs=1e-12)
    assert share_inside(3 * shift, subspace) == pytest.approx(float(inside.square().sum() / shift.square().sum()))
    assert share_inside(torch.zeros(16), subspace) == 0.0


def test_a_shift_placed_by_hand_is_measured() -> None:
    harmful, harmless = clouds(60, 32, axis(32, 0, 6.0))
    back, aside = axis(32, 0, -3.0), axis(32, 7, 4.0)
    layer = measure(States(harmful, harmless, harmful + back + aside, harmless + back + aside))[0]
    assert layer.shift_norm == pytest.approx(5.0, abs=1e-4)
    assert layer.shift_cosine == pytest.approx(-0.6, abs=0.12)
    assert layer.harmful_moved == pytest.approx(-0.5, abs=0.12)
    assert layer.shift_share_in_safety_subspace == pytest.approx(9 / 25, abs=0.15)
    # a shift that all share changes neither ranking nor direction, and breaks the threshold
    assert layer.auc_image == pytest.approx(layer.auc_text, abs=1e-12)
    assert layer.cosine_text_image == pytest.approx(1.0, abs=1e-6)
    assert layer.silhouette_image == pytest.approx(layer.silhouette_text, abs=1e-5)
    assert layer.balanced_accuracy_text > 0.97
    assert layer.balanced_accuracy_image < 0.75


def test_areas_are_held_out_so_noise_alone_is_chance() -> None:
    noise = torch.randn(4, 6, 40, 300, generator=torch.manual_seed(SEED))
    found = measure(States(noise[0], noise[1], noise[2], noise[3]))
    for name in ("auc_text", "auc_image", "probe_auc_text", "probe_auc_image"):
        assert np.mean([getattr(layer, name) for layer in found]) == pytest.approx(0.5, abs=0.08), name
    # fitted and scored on the same pairs, the same noise would separate
    own = unit_difference(noise[0], noise[1])
    assert transfer(own, noise[0], noise[1])[0].auc > 0.9


def test_a_direction_that_turns_with_the_picture_is_told_from_information_that_is_lost() -> None:
    text = clouds(60, 32, axis(32, 0, 5.0))
    turned = clouds(60, 32, axis(32, 9, 5.0), seed=1)
    lost = clouds(60, 32, axis(32, 9, 0.0), seed=2)
    elsewhere, gone = (measure(States(*text, *image))[0] for image in (turned, lost))
    for layer in (elsewhere, gone):
        assert layer.auc_text > 0.95
        assert layer.auc_image == pytest.approx(0.5, abs=0.15)
        assert abs(layer.cosine_text_image) < 0.4
    assert elsewhere.probe_auc_image > 0.95
    assert gone.probe_auc_image == pytest.approx(0.5, abs=0.15)


def test_a_seed_decides_the_folds_and_nothing_else() -> None:
    harmful, harmless = clouds(12, 8, axis(8, 0, 1.0))
    states = States(harmful, harmless, harmful, harmless)
    assert measure(states, seed=3) == measure(states, seed=3)
    one, other = (measure(states, seed=seed)[0] for seed in (3, 4))
    assert one.auc_text != other.auc_text
    assert (one.shift_norm, one.silhouette_text) == (other.shift_norm, other.silhouette_text)
