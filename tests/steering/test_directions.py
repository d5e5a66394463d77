from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import TruncatedSVD
from torch import Tensor

from sightguard.errors import DataError, UnknownName, UsageError
from sightguard.steering.directions import Directions, fit_directions


def states(pairs: int = 40, hidden: int = 24, layers: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Harmful and harmless states that differ by an offset, far from the origin, as real ones are."""
    draw = torch.manual_seed(seed)
    harmless = torch.randn(layers, pairs, hidden, generator=draw) + 7
    offset = torch.randn(layers, 1, hidden, generator=draw)
    return harmless + offset + 0.5 * torch.randn(layers, pairs, hidden, generator=draw), harmless


def fit(**options: object) -> Directions:
    harmful, harmless = states()
    return fit_directions(harmful, harmless, layers=range(3), **options)  # type: ignore[arg-type]


def test_the_directions_are_the_singular_vectors_that_scikit_learn_finds() -> None:
    harmful, harmless = states()
    found = fit_directions(harmful, harmless, layers=range(3), rank=5)
    for layer in range(3):
        difference = (harmful[layer].double() - harmless[layer].double()).numpy()
        oracle = TruncatedSVD(5, algorithm="arpack", random_state=0).fit(difference)
        cosines = np.abs((found.vectors[layer].double().numpy() * oracle.components_).sum(1))
        np.testing.assert_allclose(cosines, 1, atol=1e-6)
        energy = oracle.singular_values_**2 / (difference**2).sum()
        np.testing.assert_allclose(found.energy[layer].numpy(), energy, rtol=1e-5)


def test_the_mean_difference_is_the_unit_difference_of_the_means() -> None:
    harmful, harmless = states()
    found = fit_directions(harmful, harmless, layers=range(3), estimator="mean_difference")
    means = harmful.double().numpy().mean(1) - harmless.double().numpy().mean(1)
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(found.vectors[:, 0].numpy(), expected, atol=1e-7)


def test_the_rows_after_the_mean_difference_are_what_scikit_learn_finds_in_what_it_leaves() -> None:
    harmful, harmless = states()
    found = fit_directions(harmful, harmless, layers=range(3), estimator="mean_difference", rank=4)
    for layer in range(3):
        difference = (harmful[layer].double() - harmless[layer].double()).numpy()
        first = difference.mean(0) / np.linalg.norm(difference.mean(0))
        oracle = TruncatedSVD(3, algorithm="arpack", random_state=0).fit(
            difference - np.outer(difference @ first, first)
        )
        cosines = np.abs((found.vectors[layer, 1:].double().numpy() * oracle.components_).sum(1))
        np.testing.assert_allclose(cosines, 1, atol=1e-6)
        shares = ((difference @ found.vectors[layer].double().numpy().T) ** 2).sum(0) / (difference**2).sum()
        np.testing.assert_allclose(found.energy[layer].numpy(), shares, rtol=1e-5)
    torch.testing.assert_close(found.vectors @ found.vectors.mT, torch.eye(4).repeat(3, 1, 1), rtol=0, atol=1e-6)


@given(seed=st.integers(0, 10_000), pairs=st.integers(2, 30), hidden=st.integers(2, 30), rank=st.integers(1, 16))
def test_rows_are_orthonormal_point_to_harmful_and_are_sorted(seed: int, pairs: int, hidden: int, rank: int) -> None:
    harmful, harmless = states(pairs, hidden, 2, seed)
    found = fit_directions(harmful, harmless, layers=(4, 9), rank=rank)
    mean = (harmful.double() - harmless.double()).mean(1)
    for rows, energy, towards in zip(found.vectors.double(), found.energy, mean, strict=True):
        torch.testing.assert_close(rows @ rows.T, torch.eye(found.rank, dtype=torch.float64), rtol=0, atol=1e-6)
        assert (rows @ towards > -1e-6).all()
        assert energy.tolist() == sorted(energy.tolist(), reverse=True)
        assert energy.sum() <= 1 + 1e-6
        if found.rank == min(pairs, hidden):
            assert energy.sum() == pytest.approx(1, abs=1e-6)


def test_swapping_the_sets_turns_every_direction_round() -> None:
    harmful, harmless = states()
    there = fit_directions(harmful, harmless, layers=range(3), rank=1)
    back = fit_directions(harmless, harmful, layers=range(3), rank=1)
    torch.testing.assert_close(there.vectors, -back.vectors)


def test_the_fit_is_made_in_float64() -> None:
    harmful, harmless = states()
    offset = 1e7  # float32 keeps no digit behind the point here; a difference in float32 would lose all
    exact = fit_directions(harmful.double() + offset, harmless.double() + offset, layers=range(3))
    torch.testing.assert_close(exact.vectors, fit().vectors, rtol=1e-4, atol=1e-5)


def test_the_means_are_those_of_the_scores_of_each_side() -> None:
    harmful, harmless = states()
    found = fit_directions(harmful, harmless, layers=(2, 5, 7))
    for column, side in enumerate((harmless, harmful)):
        torch.testing.assert_close(found.means[:, column], found.scores(side).mean(1))
    torch.testing.assert_close(found.midpoints, found.means.mean(1))
    assert (found.means[:, 1] > found.means[:, 0]).all()


def test_repeated_pairs_give_no_more_directions_than_they_span() -> None:
    harmful, harmless = states(pairs=3)
    again = fit_directions(harmful.repeat(1, 10, 1), harmless.repeat(1, 10, 1), layers=range(3), rank=16)
    assert again.rank == 3
    assert again.energy.sum(1).tolist() == pytest.approx([1, 1, 1])


def test_rows_are_taken_by_the_number_of_the_layer() -> None:
    harmful, harmless = states()
    found = fit_directions(harmful, harmless, layers=(2, 5, 7))
    assert torch.equal(found.at((7, 2), 2), found.vectors[[2, 0], :2])
    torch.testing.assert_close(found.scores(harmful[1:2], (5,)), found.scores(harmful)[1:2])


@pytest.mark.parametrize("rank", [0, -1, 25])
def test_m_out_of_range_is_refused(rank: int) -> None:
    with pytest.raises(UsageError, match=f"m must be between 1 and 24, .* got {rank}"):
        fit().at((0,), rank)


def test_an_unknown_layer_or_estimator_is_named_with_what_is_known() -> None:
    with pytest.raises(UnknownName, match="no layer '11'.* Known: 0, 1, 2. These are the layers that directions"):
        fit().at((11,), 1)
    with pytest.raises(UnknownName, match="no estimator 'svdd'. Did you mean 'svd'"):
        fit(estimator="svdd")


def test_sets_that_are_not_paired_are_refused() -> None:
    harmful, harmless = states()
    with pytest.raises(
        DataError, match=r"expected paired states .* got \(3, 40, 24\) harmful and \(3, 39, 24\) harmless"
    ):
        fit_directions(harmful, harmless[:, :-1], layers=range(3))


@pytest.mark.parametrize("estimator", ["svd", "mean_difference"])
def test_sets_without_a_difference_are_refused(estimator: str) -> None:
    harmful, _ = states()
    with pytest.raises(DataError, match="do not differ"):
        fit_directions(harmful, harmful, layers=range(3), estimator=estimator)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="not finite"):
        fit_directions(harmful / 0, harmful, layers=range(3), estimator=estimator)  # type: ignore[arg-type]


def test_differences_that_cancel_out_have_no_mean_difference() -> None:
    harmless = torch.zeros(1, 2, 4)
    harmful = torch.tensor([[[1.0, 0, 0, 0], [-1.0, 0, 0, 0]]])
    with pytest.raises(DataError, match="the same mean"):
        fit_directions(harmful, harmless, layers=(0,), estimator="mean_difference")
