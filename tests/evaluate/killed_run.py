"""A run in a process of its own: `python killed_run.py FOLDER CALLS` ends itself by SIGKILL at the given call of a model."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from sightguard.evaluate.judges import RefusalPhrases
from sightguard.evaluate.run import Run, evaluate
from sightguard.types import Response, Sample

SETTINGS = {
    name: [Sample.of(f"{name} {i}", id=f"{i}", category="verb" if i % 2 else "object") for i in range(8)]
    for name in ("blank_image", "benign_text")
}


class Model:
    """Answers with what else is in the batch, so that other batches give other answers; kills its process at a call."""

    def __init__(self, name: str, calls: list[str], deadly: int) -> None:
        self.name, self.calls, self.deadly = name, calls, deadly

    def __call__(self, samples: Sequence[Sample]) -> list[Response]:
        self.calls.append(self.name)
        if len(self.calls) == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        beside = " ".join(sample.id for sample in samples)
        return [Response(f"{self.name} says {sample.text} beside {beside}") for sample in samples]


def run(folder: Path, *, deadly: int = 0, resume: bool = False) -> tuple[Run, int]:
    """Run, and return the run with the number of calls that it took."""
    calls: list[str] = []
    models = {name: Model(name, calls, deadly) for name in ("none", "vlm_guard")}
    done = evaluate(models, SETTINGS, RefusalPhrases(), out=folder, batch=3, about={"seed": 0}, resume=resume)
    return done, len(calls)


if __name__ == "__main__":
    run(Path(sys.argv[1]), deadly=int(sys.argv[2]))
