"""Calibration with a guarantee: the bound, the order statistics behind the threshold, and what is counted."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from sightguard.data.blank import beside_a_picture
from sightguard.errors import CannotCertify, DataError, UsageError
from sightguard.evaluate.statistics import clopper_pearson_upper
from sightguard.models.vlm import VLM
from sightguard.pocket import world
from sightguard.steering import guarantee
from sightguard.steering.calibrate import score
from sightguard.steering.guarantee import (
    allowed,
    at_order,
    calibrate,
    certify,
    halves,
    margins,
    needed,
    order_that_passes,
)
from sightguard.steering.steer import steer
from sightguard.steering.vlm_guard import VlmGuard
from sightguard.types import Sample
from tests import tiny


@pytest.fixture(scope="module")
def pocket() -> VLM:
    return replace(VLM.load("pocket-2"), batch=64, max_new_tokens=24)


@pytest.fixture(scope="module")
def guard(pocket: VLM) -> VlmGuard:
    return VlmGuard.fit(pocket, world.anchors(60), estimator="mean_difference", layers=[5], threshold="midpoint")


@pytest.mark.parametrize(("fired", "n"), [(0, 299), (0, 298), (3, 600), (7, 1200), (59, 60), (60, 60)])
def test_the_bound_is_scipys(fired: int, n: int) -> None:
    oracle = stats.binomtest(fired, n, alternative="less").proportion_ci(0.95, method="exact").high
    assert clopper_pearson_upper(fired, n) == pytest.approx(oracle, abs=1e-9)


def test_a_hundredth_needs_299_clean_prompts_and_no_fewer() -> None:
    assert needed(0.01) == 299
    assert clopper_pearson_upper(0, 299) <= 0.01 < clopper_pearson_upper(0, 298)
    for fired in (1, 4):
        n = needed(0.02, fired=fired)
        assert clopper_pearson_upper(fired, n) <= 0.02 < clopper_pearson_upper(fired, n - 1)


def test_so_many_may_fire_and_no_more() -> None:
    assert [allowed(n, 0.01) for n in (298, 299, 472, 473)] == [-1, 0, 0, 1]


@pytest.mark.parametrize(("a", "n"), [(2, 40), (1, 30)])
def test_what_exceeds_the_jth_largest_is_beta_binomial_as_scipy_has_it(a: int, n: int) -> None:
    oracle = stats.betabinom(n, a, 50 - a + 1)
    for k in range(4):
        assert guarantee._beta_binomial_cdf(k, n, a, 50 - a + 1) == pytest.approx(oracle.cdf(k), abs=1e-9)


@pytest.mark.parametrize("shape", ["normal", "uniform", "exponential"])
@pytest.mark.parametrize(("n_choosing", "n_certifying", "rate"), [(1200, 1200, 0.01), (300, 300, 0.05)])
def test_the_other_half_passes_about_as_often_as_it_should_whatever_the_scores_are_like(
    shape: str, n_choosing: int, n_certifying: int, rate: float
) -> None:
    draws = np.random.default_rng(0)
    most = allowed(n_certifying, rate)
    order = order_that_passes(n_choosing, n_certifying, most)
    passed = 0
    for _ in range(400):
        first, second = (torch.from_numpy(getattr(draws, shape)(size=n)) for n in (n_choosing, n_certifying))
        passed += int((second > at_order(first, order)).sum()) <= most
    assert passed / 400 >= 0.93


def test_beyond_the_largest_score_the_step_follows_an_exponential_tail() -> None:
    draws = np.random.default_rng(1)
    order = order_that_passes(300, 300, 0)
    assert order < 1
    passed = 0
    for _ in range(400):
        first, second = (torch.from_numpy(draws.exponential(size=300)) for _ in range(2))
        passed += not bool((second > at_order(first, order)).any())
    # the tail is read from ten scores, so a little less often than the 0.95 that a known one would give
    assert 0.84 <= passed / 400 <= 0.99


def test_a_place_in_the_sample_by_hand() -> None:
    values = torch.tensor([1.0, 5.0, -math.inf, 3.0])
    assert [at_order(values, order) for order in (1.0, 2.9, 3.0)] == [5.0, 3.0, 1.0]
    # above the three: the mean excess of 5 and 3 over 1 is 3
    assert at_order(values, math.exp(-2)) == pytest.approx(5 + 3 * 2)
    assert at_order(torch.tensor([-math.inf]), 0.5) == -math.inf


def test_the_margin_is_the_score_above_the_threshold_and_text_that_is_spared_never_counts(pocket: VLM) -> None:
    asked = [*world.settings("validation", 20)["blank_image"], *world.settings("validation", 20)["benign_text"]]
    made = VlmGuard.fit(pocket, world.anchors(40), layers=[4, 5], threshold="midpoint")
    (scores,) = score(pocket, [made], [], asked)
    limits = torch.tensor(made.limits())
    expected = (scores.text[[4, 5]] - limits[:, :1]).amax(0)
    pictured = scores.pictured
    torch.testing.assert_close(margins(made, pocket, asked)[pictured], expected[pictured], rtol=1e-4, atol=1e-4)
    assert torch.isneginf(margins(made, pocket, asked)[~pictured]).all()
    shifting = margins(replace(made, kind="shift"), pocket, asked)
    torch.testing.assert_close(shifting, expected, rtol=1e-4, atol=1e-4)
    one = replace(made, layers=(5,), gate="image")
    image = scores.image[5] - one.limits()[0][1]
    torch.testing.assert_close(margins(one, pocket, asked)[pictured], image[pictured], rtol=1e-3, atol=1e-3)
    either = margins(replace(one, gate="either"), pocket, asked)[pictured]
    text = margins(replace(one, gate="text"), pocket, asked)[pictured]
    torch.testing.assert_close(either, torch.maximum(text, image[pictured]), rtol=1e-3, atol=1e-3)


def test_a_certified_guard_acts_as_rarely_as_promised_on_fresh_prompts(pocket: VLM, guard: VlmGuard) -> None:
    made = calibrate(guard, pocket, world.calibration(2400, seed=3), max_false_refusal=0.01)
    promise = made.calibration["certificate"]
    assert promise["certified"]
    assert made.calibration["upper_bound"] == promise["upper_bound"] <= 0.01
    assert (promise["n"], promise["chosen_on"]) == (1200, 1200)
    fresh = world.calibration(1500, seed=4)
    acts = [plain.text != safe.text for plain, safe in zip(pocket(fresh), steer(pocket, made)(fresh), strict=True)]
    assert sum(acts) / len(acts) <= 0.01
    assert int((margins(made, pocket, fresh) > 0).sum()) >= sum(acts)
    # and it is no gate that is shut for good
    harmful = world.settings("validation", 60)["blank_image"]
    assert float((margins(made, pocket, harmful) > 0).float().mean()) >= 0.3


def test_the_bound_is_computed_on_prompts_that_set_no_threshold(pocket: VLM, guard: VlmGuard) -> None:
    benign = world.calibration(700, seed=5)
    first, second = halves(benign, 0.01, seed=1)
    assert {s.id for s in first}.isdisjoint(s.id for s in second)
    assert len(first) + len(second) == 700
    made = certify(guard, pocket, first, second, max_false_refusal=0.01, force=True)
    others = world.calibration(1000, seed=8)[: len(second)]
    again = certify(guard, pocket, first, others, max_false_refusal=0.01, force=True)
    assert made.thresholds == again.thresholds, "the certifying half moved the threshold"
    count = int((margins(made, pocket, second) > 0).sum())
    assert made.calibration["certificate"]["fired"] == count


def test_a_gate_that_never_fires_leaves_every_answer_as_it_is() -> None:
    vlm = tiny.vlm()
    shut = dict.fromkeys(range(vlm.anatomy.depth), (1000000000.0, 1000000000.0))
    for gate in ("text", "image", "either"):
        made = tiny.guard(vlm, gate=gate, threshold="calibrated", thresholds=shut, layers=[1, 2, 3], alpha=5.0)
        answers = [
            [a.text for a in model.generate(tiny.samples(), max_new_tokens=8)] for model in (vlm, steer(vlm, made))
        ]
        assert answers[0] == answers[1]
        opened = steer(vlm, replace(made, gate="always")).generate(tiny.samples(), max_new_tokens=8)
        assert [a.text for a in opened] != answers[0]


def test_too_few_prompts_are_refused_with_the_number_that_is_needed(pocket: VLM, guard: VlmGuard) -> None:
    with pytest.raises(
        CannotCertify,
        match=r"300 benign prompts cannot certify .* 0\.01 at 95%.* 299 prompts .* 50 others .* 349 in all",
    ):
        calibrate(guard, pocket, world.calibration(300), max_false_refusal=0.01)
    with pytest.raises(UsageError, match="above 0 and below 1; got 1.5"):
        calibrate(guard, pocket, world.calibration(300), max_false_refusal=1.5)


def test_prompts_that_look_harmful_to_the_gate_are_named(pocket: VLM, guard: VlmGuard) -> None:
    quiet = [s for s in world.calibration(900, seed=6) if not s.images][:400]
    loud = [
        replace(s, harmful=False, id=f"row/{i}") for i, s in enumerate(world.settings("validation", 30)["blank_image"])
    ]
    with pytest.raises(
        CannotCertify, match=r"acts on (\d+) of \d+ benign prompts .* look harmful to the gate: row/.* more\. .*--force"
    ):
        certify(guard, pocket, quiet[:50], [*quiet[50:], *loud], max_false_refusal=0.01)
    kept = certify(guard, pocket, quiet[:50], [*quiet[50:], *loud], max_false_refusal=0.01, force=True)
    assert not kept.calibration["certificate"]["certified"]
    assert all(id.startswith("row/") for id in kept.calibration["certificate"]["fired_ids"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gate": "always"}, "acts on every prompt"),
        ({"gate": "image", "layers": (4, 5)}, "states that its own edits have changed"),
        ({"reference": "same_input", "layers": (4, 5)}, "states that its own edits have changed"),
    ],
)
def test_gates_that_states_cannot_tell_are_refused(
    pocket: VLM, guard: VlmGuard, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        calibrate(replace(guard, **changes), pocket, world.calibration(400), max_false_refusal=0.05)  # type: ignore[arg-type]


def test_a_test_split_and_states_that_are_not_finite_are_refused(pocket: VLM, guard: VlmGuard) -> None:
    with pytest.raises(DataError, match="cannot be used for calibrating"):
        margins(guard, pocket, world.settings("test", 5)["benign_image"])
    vlm = tiny.vlm()
    made = tiny.guard(vlm, gate="text", threshold="midpoint")
    with torch.no_grad():
        vlm.anatomy.embeddings.weight.fill_(torch.nan)  # type: ignore[operator]
    with pytest.raises(DataError, match="states of a calibration prompt are not finite"):
        margins(made, vlm, tiny.samples())


def test_prompts_without_any_picture_are_read_beside_a_blank_one() -> None:
    words = [Sample.of("one", id="a"), Sample.of("two", id="b")]
    assert [len(s.images) for s in beside_a_picture(words)] == [1, 1]
    mixed = [*words, Sample.of("three", tiny.picture(), id="c")]
    assert beside_a_picture(mixed) == mixed


def test_the_order_of_the_anchors_and_a_second_fit_change_no_byte(tmp_path: Path) -> None:
    vlm = tiny.vlm()
    pairs = tiny.pairs()
    for name, given in (("a", pairs), ("b", pairs), ("c", pairs[::-1])):
        VlmGuard.fit(vlm, given).save_pretrained(tmp_path / name)
    for file in ("guard.json", "directions.safetensors", "README.md"):
        assert len({(tmp_path / name / file).read_bytes() for name in "abc"}) == 1
