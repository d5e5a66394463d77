"""The world's promises: splits are disjoint, prompts are distinct, every word is known, everything repeats by seed."""

from __future__ import annotations

from collections import Counter

import pytest

from sightguard.errors import UsageError
from sightguard.pocket import world
from sightguard.pocket.batches import draw_items
from sightguard.pocket.items import Item
from sightguard.pocket.prefixes import GOAL_PRIORITY, SELF_REMINDER
from sightguard.pocket.recipe import POCKET
from sightguard.pocket.vocabulary import Encoder, tokens_of
from sightguard.types import Sample

SPLITS: tuple[world.HeldOut, ...] = ("validation", "test")


def identity(sample: Sample) -> tuple[str, str]:
    return sample.text, str(sample.meta["shown"])


def training_items(steps: int = 60) -> list[Item]:
    stages = [stage for stage in POCKET.stages if stage.trains != "vision"]
    return [item for stage in stages for step in range(steps) for item in draw_items(stage, seed=7, step=step)]


@pytest.mark.parametrize("split", SPLITS)
def test_every_setting_has_three_hundred_distinct_prompts(split: world.HeldOut) -> None:
    prompts = world.settings(split, 300)
    assert tuple(prompts) == world.SETTINGS
    for name, samples in prompts.items():
        assert len({identity(sample) for sample in samples}) == 300, name
        assert len({sample.id for sample in samples}) == 300, name
        assert {sample.harmful for sample in samples} == {name in world.SETTINGS[:5]}, name


@pytest.mark.parametrize("split", SPLITS)
def test_kinds_of_harm_take_equal_shares(split: world.HeldOut) -> None:
    prompts = world.settings(split, 30)
    for name in ("text_only", "text_only_jailbreak", "blank_image", "jailbreak_blank_image"):
        assert Counter(sample.category for sample in prompts[name]) == {"object": 10, "verb": 10, "intent": 10}


@pytest.mark.parametrize("split", SPLITS)
def test_picture_settings_pair_with_text_settings(split: world.HeldOut) -> None:
    prompts = world.settings(split, 40)
    for text, blank in (("text_only", "blank_image"), ("text_only_jailbreak", "jailbreak_blank_image")):
        assert [s.text for s in prompts[text]] == [s.text for s in prompts[blank]]
        assert all(not s.images for s in prompts[text])
        assert all(len(s.images) == 1 for s in prompts[blank])


def test_the_harmful_word_is_only_in_the_picture() -> None:
    for sample in world.settings("test", 50)["harm_in_picture"]:
        word = str(sample.meta["shown"]).removeprefix("word:")
        assert word not in sample.text.split()
        assert word in sample.meta["names"]


def test_splits_and_training_share_no_prompt() -> None:
    held_out = {split: [s for group in world.settings(split, 300).values() for s in group] for split in SPLITS}
    held_out["validation"] += world.calibration(1200) + world.benign_picture_prompts("validation", 200)
    held_out["test"] += world.benign_picture_prompts("test", 200)
    validation, test = ({identity(s) for s in held_out[split]} for split in SPLITS)
    assert not validation & test
    training = {(item.text, item.picture.shown if item.picture else "") for item in training_items()}
    assert not training & validation
    assert not training & test


def test_anchors_are_matched_pairs_of_training_questions() -> None:
    pairs = world.anchors(100)
    assert len(pairs) == len({(a.text, b.text) for a, b in pairs}) == 100
    held_out = {s.text for split in SPLITS for group in world.settings(split, 300).values() for s in group}
    for harmful, harmless in pairs:
        assert (harmful.harmful, harmless.harmful) == (True, False)
        left, right = harmful.text.split(), harmless.text.split()
        assert left[0] == right[0] == "how"
        assert sum(a != b for a, b in zip(left, right, strict=True)) == 1
        assert not {harmful.text, harmless.text} & held_out


def test_calibration_is_benign_distinct_and_diverse() -> None:
    samples = world.calibration(1200)
    assert len({identity(s) for s in samples}) == 1200
    assert not any(s.harmful for s in samples)
    assert len({(s.category, s.meta["task"]) for s in samples}) >= 7
    assert 200 < sum(bool(s.images) for s in samples) < 700


def test_benign_picture_prompts_all_hold_a_picture() -> None:
    assert all(len(s.images) == 1 and not s.harmful for s in world.benign_picture_prompts("validation", 100))


def test_no_word_is_unknown() -> None:
    known = Encoder(1).ids
    texts = [item.text for item in training_items(30)] + [item.answer for item in training_items(30)]
    texts += [s.text for split in SPLITS for group in world.settings(split, 300).values() for s in group]
    texts += [s.text for s in world.calibration(1200)] + [s.text for pair in world.anchors(100) for s in pair]
    texts += [GOAL_PRIORITY, *SELF_REMINDER, world.CAPTION_PROMPT, world.REFUSAL, world.NO_PICTURE]
    unknown = {token for text in texts for token in tokens_of(text)} - set(known)
    assert not unknown


def test_prompts_repeat_by_seed_and_change_with_it() -> None:
    one, two, other = (world.settings("test", 20, seed=seed) for seed in (0, 0, 1))
    assert one == two
    assert [s.text for s in one["text_only"]] != [s.text for s in other["text_only"]]


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(UsageError, match="'validation' or 'test'; got 'train'"):
        world.settings("train")  # type: ignore[arg-type]


def test_asking_for_more_prompts_than_there_are_says_so() -> None:
    only = Item("hello", "hello .")
    with pytest.raises(UsageError, match="fewer than n=2 distinct prompts for greetings: found 1"):
        world._distinct(2, lambda i: only, "greetings")
