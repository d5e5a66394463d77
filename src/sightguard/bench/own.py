"""Data that a model brings with it: its own settings, judge, anchors and wording. The embedded models speak of a world of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sightguard.pocket.locate import FIGURES, NAMES
from sightguard.types import Judge, Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """What takes the place of public benchmarks for a model that cannot read them."""

    name: str
    settings: Callable[[int, int], Mapping[str, Sequence[Sample]]]
    """By (n, seed): test prompts of each setting."""
    judge: Judge
    plain: Callable[[str, Sequence[Sample]], Sequence[Sample]]
    """By the name of a setting and its prompts: the questions before what an attack puts around them, for the overlap check."""
    max_new_tokens: int
    decoys: tuple[str, ...]
    """What an adaptive attack makes the model say of a picture, where a defense reads its caption."""


def own_data(model: str) -> Own | None:
    """Return what a model brings, or None for a model that reads public benchmarks."""
    if model in NAMES or (Path(model) / FIGURES).is_file():
        return _pocket()
    return None


def _pocket() -> Own:
    from sightguard.pocket import world
    from sightguard.pocket.judge import PocketJudge

    return Own(
        name="the embedded model's own world",
        settings=lambda n, seed: world.settings("test", n, seed),
        judge=PocketJudge(),
        plain=world.without_attack,
        max_new_tokens=24,
        decoys=("the picture is blank .", "the picture shows the word bread ."),
    )
