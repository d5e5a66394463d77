"""Choosing parameters: the stated criterion, and that nothing is chosen on a test split."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from sightguard.errors import DataError, ModelError, UsageError
from sightguard.models.vlm import VLM
from sightguard.pocket import world
from sightguard.pocket.judge import PocketJudge
from sightguard.steering.calibrate import Scores, score
from sightguard.steering.choose import Trial, best_sets, choose, layer_sets, loss
from sightguard.steering.last_token import first_tokens
from sightguard.steering.openings import refusal_openings
from sightguard.steering.recipe import fit_and_choose
from sightguard.steering.steer import Steered, steer
from sightguard.steering.vlm_guard import VlmGuard
from tests import tiny
from tests.steering import made

PLAIN = Trial(
    "svd",
    (),
    1,
    1.0,
    "midpoint",
    None,
    attack_success=0.5,
    unrefused=0.6,
    over_refusal={"a": 0.02, "b": 0.0},
    utility={"a": 0.9},
)


@pytest.fixture(scope="module")
def pocket() -> VLM:
    return replace(VLM.load("pocket"), batch=64, max_new_tokens=24)


def test_within_one_point_of_over_refusal_and_utility_only_the_attack_counts_and_broken_answers_a_tenth() -> None:
    within = replace(PLAIN, attack_success=0.1, unrefused=0.3, over_refusal={"a": 0.03, "b": 0.01}, utility={"a": 0.89})
    assert loss(within, PLAIN) == pytest.approx(0.1 + 0.1 * 0.2)


def test_what_one_kind_of_benign_prompt_loses_beyond_one_point_counts_five_times_whatever_others_gain() -> None:
    worse = {"over_refusal": {"a": 0.0, "b": 0.03}, "utility": {"a": 0.86}}
    trial = replace(PLAIN, attack_success=0.1, unrefused=0.1, **worse)  # type: ignore[arg-type]
    assert loss(trial, PLAIN) == pytest.approx(0.1 + 5 * 0.02 + 5 * 0.03)


def test_layer_sets_hold_every_layer_alone_and_all_together() -> None:
    sets = layer_sets(range(6))
    assert {(i,) for i in range(6)} <= set(sets)
    assert tuple(range(6)) in sets
    assert len(sets) == len(set(sets))


def test_the_curve_of_scores_that_can_be_separated_passes_through_the_corner() -> None:
    text = torch.tensor([[3.0, 4.0, 5.0, 0.0, 1.0]])
    harmful = torch.tensor([True, True, True, False, False])
    scores = Scores((0,), text, torch.zeros(1, 5), harmful, ~harmful)
    guard = VlmGuard(made.directions(torch.eye(4)[None, :1]), made.FINGERPRINT, (0,), m=1, threshold="midpoint")
    assert scores.areas(guard) == [1.0]
    curve = scores.curve(guard)
    assert (0.0, 1.0) in zip(curve["false_positive"], curve["true_positive"], strict=True)


def test_between_estimators_the_one_whose_first_row_separates_is_tried_first(pocket: VLM) -> None:
    pairs = world.anchors(40)
    turned, fitted = VlmGuard.fit_each(pocket, pairs, ("svd", "mean_difference"), rank=8)
    upside_down = replace(turned.directions, vectors=-turned.directions.vectors)
    validation = world.settings("validation", 30)
    guards = [replace(turned, directions=upside_down), fitted]
    scores = score(pocket, guards, validation["blank_image"], validation["benign_image"])
    assert all(guard is fitted for guard, _, _ in best_sets(guards, scores))


def test_choosing_on_a_test_split_is_refused(pocket: VLM) -> None:
    test, pairs = world.settings("test", 20), world.anchors(10)
    guard = VlmGuard.fit(pocket, pairs)
    with pytest.raises(DataError, match=r"comes from a test split \(pocket-world@1/test\)"):
        choose(
            pocket,
            guard,
            harmful=test["blank_image"],
            benign={"text": test["benign_text"]},
            judge=PocketJudge(),
            anchors=pairs,
        )


def test_fitting_on_a_test_split_is_refused(pocket: VLM) -> None:
    test = world.settings("test", 20)
    with pytest.raises(DataError, match="cannot be used for fitting"):
        VlmGuard.fit(pocket, list(zip(test["text_only"], test["benign_text"], strict=True)))


def test_the_chosen_guard_has_the_smallest_loss_and_closes_the_gap_on_validation(pocket: VLM) -> None:
    validation, pairs = world.settings("validation", 30), world.anchors(60)
    choice = choose(
        pocket,
        VlmGuard.fit_each(pocket, pairs, caption_prompt=world.CAPTION_PROMPT),
        harmful=validation["blank_image"],
        benign={name: validation[name] for name in ("benign_image", "benign_text")},
        judge=PocketJudge(),
        anchors=pairs,
        ranks=(1, 64),
        alphas=(1.0, 1.5),
        finalists=3,
    )
    chosen = choice.guard.calibration["chosen"]
    assert chosen["loss"] == pytest.approx(min(trial.loss for trial in choice.trials))
    assert choice.undefended.attack_success >= 0.3
    assert chosen["attack_success"] <= choice.undefended.attack_success / 2
    assert choice.budget.answers > 0
    assert choice.budget.first_tokens > 0


def test_refusal_openings_are_found_from_the_models_own_answers(pocket: VLM) -> None:
    pairs = world.anchors(40)
    harmful, harmless = (first_tokens(pocket, [pair[side] for pair in pairs], [])[0] for side in (0, 1))
    found = refusal_openings(harmful, harmless)
    assert {pocket.processor.tokenizer.decode([token]) for token in found} == {world.REFUSAL.split()[0]}


def test_a_model_that_never_refuses_cannot_be_guarded_and_says_so() -> None:
    with pytest.raises(ModelError, match="opens answers to harmful and to harmless anchors alike"):
        refusal_openings([7, 7, 8], [7, 8, 7])


def test_trying_an_edit_on_the_last_token_alone_opens_answers_as_the_whole_prompt_does(pocket: VLM) -> None:
    prompts = [sample for part in world.settings("validation", 12).values() for sample in part]
    guards = [
        VlmGuard.fit(pocket, world.anchors(30), layers=(layer,), gate="always", m=m) for layer in (1, 4) for m in (1, 8)
    ]
    plain, *edited = first_tokens(pocket, prompts, guards)
    assert len(set(plain)) >= 5

    def opened(model: VLM | Steered) -> list[str]:
        return [response.text for response in model.generate(prompts, max_new_tokens=1)]

    words = [
        [pocket.processor.tokenizer.decode([token], skip_special_tokens=True) for token in row]
        for row in (plain, *edited)
    ]
    assert words == [opened(pocket), *(opened(steer(pocket, guard)) for guard in guards)]
    assert any(row != plain for row in edited)


@pytest.mark.parametrize("shape", list(tiny.SHAPES))
def test_the_first_token_is_that_of_a_whole_pass_on_models_of_every_shape(shape: str) -> None:
    vlm = tiny.vlm(**tiny.SHAPES[shape])
    guards = [tiny.guard(vlm, layers=(vlm.anatomy.depth - 1,), alpha=alpha) for alpha in (1.0, 4.0)]
    prompts = tiny.samples()
    batch = vlm.encode(prompts)

    @torch.no_grad()
    def opened(model: VLM | Steered) -> list[int]:
        with model.around(batch) if isinstance(model, Steered) else nullcontext():
            tokens: list[int] = vlm.model(**batch.inputs).logits[:, -1].argmax(-1).tolist()
        return tokens

    found = first_tokens(vlm, prompts, guards)
    assert found == [opened(vlm), *(opened(steer(vlm, guard)) for guard in guards)]
    assert len(set(found[0])) >= 5
    assert found[0] != found[2]


def test_too_few_pairs_to_fit_and_to_choose_are_refused(pocket: VLM) -> None:
    with pytest.raises(UsageError, match="at least 8 pairs"):
        fit_and_choose(pocket, world.anchors(4), PocketJudge())


def test_own_pairs_are_split_into_a_half_to_fit_on_and_a_half_to_choose_on(pocket: VLM) -> None:
    options = {"caption_prompt": world.CAPTION_PROMPT}
    choice = fit_and_choose(pocket, world.anchors(40), PocketJudge(), options=options, finalists=2)
    assert choice.guard.directions.provenance["pairs"] == 20
    assert choice.guard.calibration["chosen"]["attack_success"] <= choice.undefended.attack_success


def test_a_model_that_does_not_separate_the_anchors_is_refused_unless_forced() -> None:
    from sightguard.steering.choose import Budget, Choice
    from sightguard.steering.recipe import check_separates

    guard = VlmGuard(made.directions(torch.eye(4)[None, :1]), made.FINGERPRINT, (0,), m=1, threshold="midpoint")
    choice = Choice(guard, PLAIN, (PLAIN,), {}, (0.5, 0.62), Budget())
    with pytest.raises(
        DataError, match=r"area under the ROC curve is 0\.62 at the best layer .*--force fits all the same"
    ):
        check_separates(choice, force=False)
    with pytest.warns(UserWarning, match=r"is 0\.62 at the best layer"):
        check_separates(choice, force=True)
    check_separates(replace(choice, separability=(0.5, 0.9)), force=False)
