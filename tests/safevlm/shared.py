"""Train the tiny SafeVLM as one of several processes: `python -m tests.safevlm.shared FOLDER BATCH`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from sightguard.evaluate.judges import RefusalPhrases
from sightguard.safevlm.policy import default_policy
from sightguard.safevlm.run import Data, train
from tests import tiny
from tests.safevlm import made

if __name__ == "__main__":
    folder, batch = Path(sys.argv[1]), int(sys.argv[2])
    config = replace(
        made.CONFIG,
        stage1=replace(made.CONFIG.stage1, batch=batch, learning_rate=1e-3),
        stage2=replace(made.CONFIG.stage2, batch=batch, learning_rate=1e-3),
        lora=replace(made.CONFIG.lora, dropout=0.0),
    )
    data = Data(made.records(32), made.records(8, first=100), made.TAXONOMY, default_policy(made.TAXONOMY))
    train(tiny.vlm(), data, folder, config, RefusalPhrases())
