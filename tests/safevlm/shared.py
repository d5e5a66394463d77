"""Train the tiny SafeVLM as one of several processes: `python -m tests.safevlm.shared FOLDER BATCH [sharded] [killed]`."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from sightguard.evaluate.judges import RefusalPhrases
from sightguard.models.vlm import VLM
from sightguard.safevlm import run
from sightguard.safevlm.config import Config
from sightguard.safevlm.policy import default_policy
from sightguard.safevlm.run import Data, train
from tests import tiny
from tests.safevlm import made


def sharding() -> None:
    """Set accelerate up for FSDP 2 as a configuration file does; on processors without a GPU it does not do so by itself."""
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    def accelerator(config: Config, vlm: VLM) -> Any:
        plugin = FullyShardedDataParallelPlugin(
            fsdp_version=2,
            auto_wrap_policy="transformer_based_wrap",
            reshard_after_forward=True,
            cpu_ram_efficient_loading=False,
        )
        found = Accelerator(cpu=True)
        AcceleratorState._shared_state |= {"distributed_type": DistributedType.FSDP, "fsdp_plugin": plugin}
        return found

    run._accelerator = accelerator


def killing(stage: str) -> Any:
    """Return a progress that kills the process at a step of stage 2, if that was asked for."""

    def progress(name: str, done: int, steps: int, loss: float) -> None:
        if "killed" in sys.argv and (stage, done) == ("2", 3):
            os.kill(os.getpid(), signal.SIGKILL)

    return progress


if __name__ == "__main__":
    folder, batch = Path(sys.argv[1]), int(sys.argv[2])
    config = replace(
        made.CONFIG,
        stage1=replace(made.CONFIG.stage1, batch=batch, learning_rate=1e-3),
        stage2=replace(made.CONFIG.stage2, batch=batch, learning_rate=1e-3),
        lora=replace(made.CONFIG.lora, dropout=0.0),
    )
    data = Data(made.records(32), made.records(8, first=100), made.TAXONOMY, default_policy(made.TAXONOMY))
    if "sharded" in sys.argv:
        sharding()
        for stage in "12":
            train(tiny.vlm(), data, folder, config, RefusalPhrases(), stage=stage, progress=killing(stage))
    else:
        train(tiny.vlm(), data, folder, config, RefusalPhrases())
