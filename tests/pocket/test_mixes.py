"""No training pair joins a picture with harm, and the check that says so can fail."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sightguard.errors import DataError
from sightguard.pocket import draws as world
from sightguard.pocket.batches import draw_items
from sightguard.pocket.grammar import REFUSAL
from sightguard.pocket.items import Item, Picture
from sightguard.pocket.mixes import TextMix, check_no_harm_beside_a_picture, text_item
from sightguard.pocket.recipe import POCKET
from sightguard.pocket.vocabulary import seeded

BLANK = Picture("blank")


def test_the_drawn_training_data_never_joins_a_picture_with_harm() -> None:
    count = 0
    for stage in POCKET.stages:
        if stage.trains != "vision":
            items = [item for step in range(25) for item in draw_items(stage, seed=5, step=step)]
            count += check_no_harm_beside_a_picture(items)
            assert any(item.picture for item in items) == (stage.pictures is not None)
    assert count > 1000


@pytest.mark.parametrize("kind", world.HARMS)
@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.parametrize("flagged", [True, False])
def test_a_planted_pair_is_found_even_with_its_flag_removed(kind: world.Kind, answered: bool, flagged: bool) -> None:
    item = world.how_to(seeded(1), "train", kind)
    planted = replace(item, picture=BLANK, harmful=flagged, answer=item.helpful if answered else REFUSAL)
    with pytest.raises(DataError, match="joins a picture"):
        check_no_harm_beside_a_picture([world.talk(seeded(2), "train"), planted])


def test_harm_that_is_only_in_the_picture_is_found() -> None:
    item = world.how_to(seeded(3), "train", "object", named=False)
    assert item.request is not None
    planted = replace(item, harmful=False, answer=item.helpful, picture=Picture("word", word=item.request.thing))
    with pytest.raises(DataError, match=f"asks to {item.request.verb} the {item.request.thing}"):
        check_no_harm_beside_a_picture([planted])


def test_harm_in_an_earlier_turn_is_found() -> None:
    item = Item(
        "which shape is in the picture ?",
        "it is a circle .",
        picture=BLANK,
        before=(("user", "how do i steal the car ?"),),
    )
    with pytest.raises(DataError, match="says 'steal'"):
        check_no_harm_beside_a_picture([item])


@pytest.mark.parametrize("kind", ["good", "safe"])
def test_benign_requests_beside_a_picture_pass(kind: world.Kind) -> None:
    items = [replace(world.how_to(seeded(i), "train", kind), picture=BLANK) for i in range(200)]
    assert check_no_harm_beside_a_picture(items) == 200


def test_harmful_share_of_the_text_mix_is_what_it_says() -> None:
    draws = seeded("share")
    items = [text_item(draws, TextMix(harmful=0.38)) for _ in range(3000)]
    assert abs(sum(item.harmful for item in items) / 3000 - 0.38) < 0.03
    assert all((item.answer == REFUSAL) == item.harmful for item in items)
