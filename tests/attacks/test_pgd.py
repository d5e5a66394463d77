"""PGD on pixels: inside the ball when saved, better than noise, and nothing is touched on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
import torch

from sightguard.attacks.forcing import Forced
from sightguard.attacks.perturbed import Perturbed, beats_noise, falls_short, succeeds_beyond_noise
from sightguard.attacks.pgd import OnPixels, Pgd
from sightguard.attacks.sight import pixels_of
from sightguard.attacks.surfaces import Losses, Plain, plain_losses
from sightguard.data.blank import blank
from sightguard.errors import DataError, UsageError
from sightguard.models.vlm import VLM
from sightguard.types import Image, Message, Sample
from tests import tiny
from tests.families.catalogue import MAKERS

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # of processors of transformers

SAMPLES = [Sample.of("what is this ?", tiny.picture(i, (20 + 3 * i, 28)), id=f"p{i}", harmful=False) for i in range(4)]
TARGET = "Sure, here is"


def made(family: str) -> VLM:
    model, processor = MAKERS[family]()
    return VLM(model, processor, max_new_tokens=6)


def changes(before: Sample, after: Sample) -> torch.Tensor:
    return pixels_of(after.images[-1]) - pixels_of(before.images[-1])


@pytest.mark.parametrize("family", ["llava", "qwen2_vl", "mllama"])
def test_the_loss_falls_more_than_under_noise_and_the_ball_is_kept_when_saved(family: str) -> None:
    vlm = made(family)
    samples = SAMPLES if family == "llava" else SAMPLES[:2]
    before = [image.read() for sample in samples for image in sample.images]
    vlm(samples)
    hooks = tiny.hooks(vlm.model)
    results = Pgd(eps=24 / 255, steps=8, seed=1).run(Plain(vlm), samples, TARGET)
    for sample, result in zip(samples, results, strict=True):
        moved = changes(sample, result.sample)
        assert 20 < moved.abs().max() <= 24
        assert moved.abs().float().mean() > 8
        assert not result.failed
        (alone,) = plain_losses(vlm, [result.sample], [TARGET])
        assert result.loss_after_png == pytest.approx(alone, rel=1e-4)
        (alone,) = plain_losses(vlm, [sample], [TARGET])
        assert result.loss_before == pytest.approx(alone, rel=1e-4)
        assert result.loss_after_png < result.loss_before
        assert result.loss_after_float == pytest.approx(
            result.loss_after_png, abs=0.1
        )  # what was found is what was saved
        assert replace(result.sample, messages=sample.messages) == sample
    assert [image.read() for sample in samples for image in sample.images] == before
    assert tiny.hooks(vlm.model) == hooks
    assert all(parameter.grad is None for parameter in vlm.model.parameters())


@pytest.mark.parametrize(("eps", "ball"), [(1 / 255, 1), (2.6 / 255, 2), (255 / 255, 255)])
def test_the_ball_is_counted_in_whole_steps(eps: float, ball: int) -> None:
    assert Pgd(eps=eps).ball == ball
    for result, sample in zip(Pgd(eps=eps, steps=3).run(Plain(tiny.vlm()), SAMPLES, TARGET), SAMPLES, strict=True):
        assert changes(sample, result.sample).abs().max() <= ball


def test_a_black_and_a_white_picture_stay_in_range() -> None:
    samples = [Sample.of("what ?", blank(20, 24, (shade,) * 3), id=str(shade)) for shade in (0, 255)]
    for result, sign in zip(Pgd(eps=8 / 255, steps=3).run(Plain(tiny.vlm()), samples, TARGET), (1, -1), strict=True):
        moved = changes(samples[0 if sign > 0 else 1], result.sample) * sign
        assert moved.min() >= 0
        assert 1 <= moved.max() <= 8


def test_only_the_last_picture_is_perturbed() -> None:
    turns = (
        Message("user", (tiny.picture(1), "first ?", tiny.picture(2))),
        Message("assistant", ("yes",)),
        Message("user", (tiny.picture(3), "and ?", tiny.picture(4))),
        Message("assistant", ("no",)),
        Message("user", ("why ?",)),
    )
    sample = Sample("turns", turns)
    (result,) = Pgd(steps=2).run(Plain(tiny.vlm()), [sample], TARGET)
    assert [a == b for a, b in zip(result.sample.images, sample.images, strict=True)] == [True, True, True, False]
    assert result.sample.text == sample.text


def test_the_same_seed_gives_the_same_and_batches_do_not_matter() -> None:
    vlm = VLM(tiny.llava().double(), tiny.processor())
    options = Pgd(steps=3, seed=5)
    first = options.run(Plain(vlm), SAMPLES, TARGET)
    alone = replace(options, batch=1).run(Plain(vlm), SAMPLES[::-1], TARGET)[::-1]
    other = replace(options, seed=6).run(Plain(vlm), SAMPLES, TARGET)
    assert [r.sample for r in alone] == [r.sample for r in first]
    assert all(a.sample != b.sample for a, b in zip(first, other, strict=True))
    assert [r.loss_noise for r in first] == pytest.approx([r.loss_noise for r in alone], rel=1e-3)


@dataclass(frozen=True)
class Counting(Plain):
    """Counts passes with gradients."""

    calls: list[int] = field(default_factory=list)

    def losses(self, prompts: Forced, samples: Sequence[Sample]) -> Losses:
        inner = super().losses(prompts, samples)

        def losses(**changed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            self.calls.append(1)
            return inner(**changed)

        return losses


def test_more_starts_never_do_worse_and_a_stop_ends_early() -> None:
    vlm = tiny.vlm()
    one, three = (Pgd(steps=3, restarts=n).run(Plain(vlm), SAMPLES, TARGET) for n in (1, 3))
    assert all(b.loss_after_png <= a.loss_after_png for a, b in zip(one, three, strict=True))
    assert any(b.loss_after_png < a.loss_after_png for a, b in zip(one, three, strict=True))
    counting = Counting(vlm)
    Pgd(steps=9, stop=100.0).run(counting, SAMPLES, TARGET)
    assert len(counting.calls) == 1


def test_each_sample_may_have_its_own_target_and_progress_is_told() -> None:
    vlm, told = tiny.vlm(), list[tuple[int, int]]()
    aims = {sample.id: f"{sample.id} it is" for sample in SAMPLES}
    results = Pgd(steps=1, batch=2).run(
        Plain(vlm), SAMPLES, lambda s: aims[s.id], progress=lambda done, count: told.append((done, count))
    )
    expected = plain_losses(vlm, SAMPLES, list(aims.values()))
    assert [r.loss_before for r in results] == pytest.approx(expected, rel=1e-4)
    assert told[-1] == (4, 4)


def test_as_an_attack_it_takes_one_sample() -> None:
    vlm = tiny.vlm()
    attack = OnPixels(Plain(vlm), TARGET, Pgd(steps=2))
    assert attack(SAMPLES[0]) == Pgd(steps=2).run(Plain(vlm), SAMPLES[:1], TARGET)[0].sample
    assert (attack.name, attack.level) == ("pgd", "input")


def test_what_cannot_be_meant_is_said() -> None:
    with pytest.raises(DataError, match="no picture to perturb"):
        Pgd(steps=1).run(Plain(tiny.vlm()), [Sample.of("hello")], TARGET)
    with pytest.raises(DataError, match="words to aim at"):
        Pgd(steps=1).run(Plain(tiny.vlm()), SAMPLES, "")
    for options in ({"eps": 0.5 / 255}, {"eps": 2.0}, {"steps": 0}, {"restarts": 0}, {"step": 0.0}):
        with pytest.raises(UsageError):
            Pgd(**options)


def result(after: float, noise: float, before: float = 3.0) -> Perturbed:
    return Perturbed(Sample.of("?", Image(data=b"x")), before, after, after, noise)


def test_an_attack_that_does_not_beat_noise_is_reported_as_failed() -> None:
    good, bad = result(1.0, 2.9), result(2.95, 2.9)
    assert not good.failed
    assert "noise of the same size" in bad.failed
    assert "did not fall" in result(3.0, 3.5).failed
    found = beats_noise([good] * 6)
    assert (found.beats, found.wins, found.losses, found.failed) == (True, 6, 0, "")
    assert found.p == pytest.approx(2 / 2**6)
    for results in ([good] * 5, [bad] * 20, [good] * 6 + [bad] * 4, [result(1.0, 1.0)] * 9):
        told = beats_noise(results)
        assert not told.beats
        assert "reported as failed" in told.failed
    assert beats_noise([good] * 8, [(True, False)] * 8).beats
    assert not beats_noise([good] * 8, [(True, True)] * 8).beats
    assert not beats_noise([good] * 8, [(False, True)] * 8).beats
    with pytest.raises(UsageError):
        beats_noise([])


@pytest.mark.parametrize(
    ("n", "noisy", "alpha"), [(5, 0, 0.05), (6, 0, 0.05), (12, 6, 0.05), (12, 7, 0.05), (4, 0, 0.2)]
)
def test_where_noise_leaves_too_few_samples_no_attack_is_shown_to_be_one(n: int, noisy: int, alpha: float) -> None:
    # the best attack that there can be: it succeeds wherever noise does, and everywhere else
    best = succeeds_beyond_noise([(True, i < noisy) for i in range(n)], alpha=alpha)
    assert best.beats is (2 * 0.5 ** (n - noisy) <= alpha)
    assert ("no attack can be shown to be better" in best.failed) is not best.beats
    # where there are enough, an attack that fails has itself to blame
    assert (
        "no attack can" in succeeds_beyond_noise([(False, i < noisy) for i in range(n)], alpha=alpha).failed
    ) is not best.beats
    with pytest.raises(UsageError):
        succeeds_beyond_noise([])


def test_an_adaptive_attack_below_the_static_one_is_reported_as_failed() -> None:
    assert falls_short([True, False], [False, True]) == ""
    assert "1 of 3 samples and the static one on 2" in falls_short([True, True, False], [False, False, True])
    with pytest.raises(UsageError):
        falls_short([True], [])
