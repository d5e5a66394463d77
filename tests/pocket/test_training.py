"""The figures of a stage are those of the whole stage, however often it was stopped."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")

from sightguard.pocket import training
from sightguard.pocket.architecture import new_model
from sightguard.pocket.checkpoints import Done
from tests.pocket.tiny_recipe import TINY

STEPS = 60


class Stopped(Exception):
    pass


def train(checkpoint: Path, every: int, stop: int | None = None) -> Done:
    """Train the first stage of the tiny recipe, somewhat longer; stop after a step."""

    def show(name: str, done: int, total: int, loss: float) -> None:
        if done == stop:
            raise Stopped

    stage = replace(TINY.stages[0], steps=STEPS)
    model = new_model(TINY.sizes, 3)
    return training.train_stage(model, TINY, stage, 3, checkpoint=checkpoint, every=every, progress=show)


@pytest.mark.parametrize(("every", "stop"), [(20, 50), (7, 50), (STEPS, STEPS)])
def test_a_resumed_stage_has_the_seconds_and_losses_of_one_that_was_never_stopped(
    every: int, stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A clock that is read once a step, and goes on by a second each time.
    monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=count().__next__))
    whole = train(tmp_path / "whole", every)
    assert (whole.steps, whole.seconds, len(whole.losses)) == (STEPS, STEPS, 50)
    with pytest.raises(Stopped):
        train(tmp_path / "stopped", every, stop)
    assert train(tmp_path / "stopped", every) == whole
