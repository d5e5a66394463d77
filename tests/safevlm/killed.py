"""Train the tiny SafeVLM in a folder, and kill this process without warning at the step that is named.

python -m tests.safevlm.killed FOLDER [STAGE STEP]
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch

from sightguard.evaluate.judges import RefusalPhrases
from sightguard.safevlm.policy import default_policy
from sightguard.safevlm.run import Data, train
from tests import tiny
from tests.safevlm import made


def main(folder: str, stage: str = "", step: str = "0") -> None:
    torch.set_num_threads(1)

    def progress(name: str, done: int, total: int, loss: float) -> None:
        if (name, done) == (stage, int(step)):
            os.kill(os.getpid(), signal.SIGKILL)

    data = Data(made.records(32), made.records(8, first=100), made.TAXONOMY, default_policy(made.TAXONOMY))
    train(tiny.vlm(), data, Path(folder), made.CONFIG, RefusalPhrases(), progress=progress)


if __name__ == "__main__":
    main(*sys.argv[1:])
