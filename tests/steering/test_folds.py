from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sightguard.errors import DataError
from sightguard.steering.directions import ESTIMATORS, Estimator, fit_directions
from sightguard.steering.folds import held_out_scores


def states(pairs: int = 23, hidden: int = 12) -> tuple[Tensor, Tensor]:
    draw = torch.manual_seed(0)
    harmless = torch.randn(2, pairs, hidden, generator=draw) + 5
    return harmless + torch.randn(2, 1, hidden, generator=draw) + torch.randn(
        2, pairs, hidden, generator=draw
    ), harmless


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_each_pair_is_scored_on_the_direction_that_the_other_folds_give(estimator: Estimator) -> None:
    harmful, harmless = states()
    found = held_out_scores(harmful, harmless, estimator=estimator, folds=4)
    for fold in range(4):
        out = torch.arange(23) % 4 == fold
        others = fit_directions(harmful[:, ~out], harmless[:, ~out], layers=(0, 1), rank=1, estimator=estimator)
        for scores, side in zip(found, (harmful, harmless), strict=True):
            torch.testing.assert_close(scores[:, out].float(), others.scores(side[:, out]), rtol=1e-4, atol=1e-4)


def test_a_pair_does_not_help_to_score_itself() -> None:
    harmful, harmless = states()
    before = held_out_scores(harmful, harmless)[0]
    moved = harmful.clone()
    moved[:, 7] += 50.0
    after = held_out_scores(moved, harmless)[0]
    mates = torch.arange(23) % 5 == 7 % 5
    mates[7] = False
    torch.testing.assert_close(after[:, mates], before[:, mates])
    assert not torch.allclose(after[:, ~mates], before[:, ~mates])


def test_anchors_that_cannot_be_held_out_are_refused() -> None:
    harmful, harmless = states(pairs=1)
    with pytest.raises(DataError, match="at least 2 pairs; got 1"):
        held_out_scores(harmful, harmless)
    same = torch.ones(1, 4, 3)
    with pytest.raises(DataError, match="do not differ"):
        held_out_scores(same, same)
