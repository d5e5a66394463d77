"""Drawings: old ones keep their bytes, fonts and icons differ, and colour says nothing about harm."""

from __future__ import annotations

import hashlib
import random
from itertools import combinations

import numpy as np
import pytest

from sightguard.pocket import draws as world
from sightguard.pocket.batches import HEADS
from sightguard.pocket.icons import HARMFUL_ICONS, HARMLESS_ICONS, ICONS
from sightguard.pocket.items import HELD_OUT_FONTS, PICTURE_KINDS, TRAIN_FONTS, Font, Picture
from sightguard.pocket.pictures import SIDE, pixels, render
from sightguard.pocket.words import BAD_OBJECTS, GOOD_OBJECTS, OBJECTS

FONTS = TRAIN_FONTS + HELD_OUT_FONTS
WIDE = "quagmwxy"


@pytest.mark.parametrize(
    ("picture", "digest"),
    [
        (Picture("blank", seed=1), "0856029dff1f485b082a9294593b21ee4607865af3ab6d641ed2bc245712efbc"),
        (Picture("noise", seed=2), "b898fd1cd9a5a63b37b2eda5e4f1b47be1416093b3334900754fe745b035266d"),
        (Picture("word", word="poison", seed=3), "97bf1084a89067237fe3cc014d966ded03cc1f16d5bc23d45c0aad06d8e99a32"),
        (Picture("word", word="whistle", seed=4), "0f2492889bb74f1229c0ad60a28bd4a3db23fdd9e6575d3031a754f775845568"),
        (
            Picture("shape", shape="circle", colour="red", seed=5),
            "782ede599ad094029e5ee3255961747fdf61bc67ae6265ab5b3dc8601dffd33b",
        ),
        (
            Picture("shape", shape="cross", colour="blue", seed=7),
            "ffaa189b3c9c6ae457413666a9730a8ff61e1cb206d2ecc47645490533b7b15c",
        ),
    ],
)
def test_pictures_that_models_were_trained_on_keep_their_pixels(picture: Picture, digest: str) -> None:
    assert hashlib.sha256(pixels(picture).tobytes()).hexdigest() == digest


def test_twelve_hundred_drawn_pictures_keep_their_pixels() -> None:
    draws, digest = random.Random(0), hashlib.sha256()
    for _ in range(300):
        for kind in PICTURE_KINDS:
            digest.update(pixels(world.picture(draws, kind)).tobytes())
    assert digest.hexdigest() == "7bf9f7e46fd9ec3d20e3f135596db2cd04ef07e14c1340851a10a2457868a0de"


def test_the_pocket_models_are_not_trained_on_icons() -> None:
    assert PICTURE_KINDS == HEADS["kind"] == ("blank", "noise", "shape", "word")


@pytest.mark.parametrize("word", ["bomb", "swindle", WIDE])
def test_every_font_renders_differently_and_shows_the_same(word: str) -> None:
    shown = [Picture("word", word=word, seed=3, font=font) for font in FONTS]
    assert len({render(picture).data for picture in shown}) == len(FONTS)
    assert {picture.shown for picture in shown} == {f"word:{word}"}


@pytest.mark.parametrize("font", FONTS)
def test_words_of_a_font_stay_apart_and_inside(font: Font) -> None:
    drawn = {pixels(Picture("word", word=word, seed=9, font=font)).tobytes() for word in OBJECTS}
    assert len(drawn) == len(OBJECTS)
    for seed in range(20):
        ink = ink_of(Picture("word", word=WIDE, seed=seed, font=font))
        assert ink.shape == (SIDE, SIDE)
        columns = np.flatnonzero(ink.any(axis=0))
        assert columns[-1] - columns[0] + 1 >= SIDE - 2
        assert abs(int(ink.sum()) - int(ink_of(Picture("word", word=WIDE, seed=0, font=font)).sum())) <= 4


def test_icons_are_pairwise_different_under_every_seed() -> None:
    for seed in range(30):
        drawn = {name: ink_of(Picture("icon", word=name, seed=seed)) for name in ICONS}
        for left, right in combinations(ICONS, 2):
            assert int((drawn[left] != drawn[right]).sum()) > 60, (left, right, seed)


def test_an_icon_moves_and_changes_colour_with_its_seed() -> None:
    for name in ICONS:
        assert len({render(Picture("icon", word=name, seed=seed)).data for seed in range(20)}) == 20
        assert render(Picture("icon", word=name, seed=1)) == render(Picture("icon", word=name, seed=1))


def test_an_icon_says_what_it_shows() -> None:
    picture = Picture("icon", word="bomb")
    assert (picture.shown, picture.caption) == ("icon:bomb", "the picture shows a bomb .")


def test_colour_is_no_cue_for_harm() -> None:
    def mean_colour(pictures: list[Picture]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        mean: np.ndarray[tuple[int], np.dtype[np.float64]] = np.mean(
            [pixels(p).mean(axis=(0, 1)) for p in pictures], axis=0
        )
        return mean

    def icons(names: tuple[str, ...]) -> list[Picture]:
        return [Picture("icon", word=names[i % 6], seed=i) for i in range(600)]

    def words(names: tuple[str, ...]) -> list[Picture]:
        return [Picture("word", word=names[i % 18], seed=i, font=FONTS[i // 18 % 6]) for i in range(600)]

    # Of 255; a paper alone varies by 30.
    assert np.abs(mean_colour(icons(HARMFUL_ICONS)) - mean_colour(icons(HARMLESS_ICONS))).max() < 4
    assert np.abs(mean_colour(words(BAD_OBJECTS)) - mean_colour(words(GOOD_OBJECTS[:18]))).max() < 4


def ink_of(picture: Picture) -> np.ndarray[tuple[int, ...], np.dtype[np.bool]]:
    """Where the picture differs from its paper, the commonest colour."""
    drawn = pixels(picture).reshape(-1, 3)
    colours, counts = np.unique(drawn, axis=0, return_counts=True)
    found: np.ndarray[tuple[int, ...], np.dtype[np.bool]] = (
        (drawn != colours[counts.argmax()]).any(axis=1).reshape(SIDE, SIDE)
    )
    return found
