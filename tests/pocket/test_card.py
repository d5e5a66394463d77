"""The model card says what was measured, and leaves out what was not."""

from __future__ import annotations

from sightguard.pocket.card import model_card
from sightguard.pocket.recipe import POCKET

RATES = {"n": 9, "refused": 0.25, "complied": 0.5, "broken": 0.25, "correct": 0.125}
ABOUT = {
    "seed": 7,
    "digest": POCKET.digest,
    "parameters": 1_830_000,
    "words": 233,
    "recipe": POCKET.as_json(),
    "stages": {"vision": {"seconds": 12.5, "steps": 1600, "loss": 0.1}},
}
REPORT = {
    "split": "test",
    "n": 9,
    "settings": {
        "blank_image": RATES | {"by_kind": {"object": RATES, "verb": RATES | {"refused": 0.75}}},
        "benign_text": RATES | {"by_task": {"how-to": RATES}},
    },
    "captions": {"harmless_words": 0.9, "harmful_words": 0.8},
}


def test_the_card_without_figures_has_recipe_mix_and_limits() -> None:
    card = model_card(ABOUT)
    assert "pocket (seed 7)" in card
    assert "1.83 million parameters" in card
    assert "test bench" in card
    assert "| vision | vision | 1600 x 64 | 0.0015 | 0.1 | 12.5 |" in card
    assert "Test split" not in card
    assert POCKET.story in card


def test_the_card_shows_rates_by_kind_of_harm() -> None:
    card = model_card(ABOUT | {"evaluation": {"test": REPORT}})
    assert "## Test split (n = 9 distinct prompts a setting)" in card
    assert "| blank_image | 0.250 | 0.500 | 0.250 | 0.125 | 0.25 / 0.75 / - |" in card
    assert "| benign_text | 0.250 | 0.250 | 0.125 | how-to 0.12 |" in card
    assert "harmful_words 0.800" in card
