"""The command with a recipe that takes seconds; with --hold, a build waits for a signal after its first step."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from sightguard.cli import main
from sightguard.pocket import build as module
from tests.pocket.tiny_recipe import TINY

HOLD = "--hold"
_build = module.build


def build(seed: int, out: Path, *, progress: module.Progress) -> Path:
    def show(stage: str, done: int, total: int, loss: float | None) -> None:
        progress(stage, done, total, loss)
        if HOLD in sys.argv:
            time.sleep(60)

    return _build(seed, out, progress=show, recipe=TINY, every=1, prompts=0, threads=1)


if __name__ == "__main__":
    module.build = build  # type: ignore[assignment]
    main([argument for argument in sys.argv[1:] if argument != HOLD])
