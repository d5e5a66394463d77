"""A pocket recipe that takes seconds, and a program that builds it and says how far it is."""

from __future__ import annotations

import sys
from pathlib import Path

from sightguard.pocket.build import build
from sightguard.pocket.mixes import PictureMix, TextMix
from sightguard.pocket.recipe import Recipe, Sizes, Stage

TINY = Recipe(
    name="tiny",
    story="for tests",
    sizes=Sizes(
        hidden=32, layers=2, heads=2, feed_forward=48,
        vision_hidden=32, vision_layers=1, vision_feed_forward=48, patch=12,
    ),
    stages=(
        Stage("vision", "vision", 5, 4, 1e-3),
        Stage("helpful", "language", 5, 4, 1e-3, text=TextMix(), refuses=False),
        Stage("aligned", "language", 5, 4, 1e-3, text=TextMix(), first_token=4.0),
        Stage("projector", "projector", 5, 4, 1e-3, pictures=PictureMix(), text_share=0.0),
        Stage(
            "visual", "language+projector", 5, 4, 1e-3,
            text=TextMix(), pictures=PictureMix(), text_share=0.5, distill=0.5,
        ),
    ),
)  # fmt: skip


def main() -> None:
    def say(stage: str, done: int, total: int, loss: float | None) -> None:
        sys.stdout.write(f"{stage} {done}\n")
        sys.stdout.flush()

    build(3, Path(sys.argv[1]), recipe=TINY, every=2, prompts=0, threads=1, progress=say)


if __name__ == "__main__":
    main()
