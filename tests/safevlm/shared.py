"""Train the tiny SafeVLM as one of several processes: `python -m tests.safevlm.shared FOLDER BATCH [sharded|zero1|zero2] [bf16] [killed]`."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
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


def zeroing(level: int) -> None:
    """Set accelerate up for DeepSpeed's ZeRO as a configuration file does; it does so by itself on GPUs alone."""
    import deepspeed
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DeepSpeedPlugin, DistributedType

    importlib.import_module("deepspeed.comm.torch").build_shm_op = lambda: None  # type: ignore[attr-defined]  # compiles

    def accelerator(config: Config, vlm: VLM) -> Any:
        file = {"zero_optimization": {"stage": 2, "reduce_bucket_size": "auto"}}
        plugin = DeepSpeedPlugin(hf_ds_config=file) if level == 2 else DeepSpeedPlugin(zero_stage=level)
        found = Accelerator(cpu=True)
        deepspeed.init_distributed(dist_backend="gloo")
        kind = DistributedType.DEEPSPEED
        AcceleratorState._shared_state |= {"distributed_type": kind, "deepspeed_plugins": {"default": plugin}}
        PartialState._shared_state["distributed_type"] = kind
        plugin.set_mixed_precision("no")
        plugin._selected = True
        found.deepspeed_engine_wrapped = None
        return found

    run._accelerator = accelerator


def killing(name: str, done: int, steps: int, loss: float) -> None:
    """Kill the process at a step of stage 2, if that was asked for."""
    if "killed" in sys.argv and (name, done) == ("stage2", 3):
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    folder, batch = Path(sys.argv[1]), int(sys.argv[2])
    config = replace(
        made.CONFIG,
        stage1=replace(made.CONFIG.stage1, batch=batch, learning_rate=1e-3),
        stage2=replace(made.CONFIG.stage2, batch=batch, learning_rate=1e-3),
        lora=replace(made.CONFIG.lora, dropout=0.0),
        precision="bf16" if "bf16" in sys.argv else "no",
    )
    data = Data(made.records(32), made.records(8, first=100), made.TAXONOMY, default_policy(made.TAXONOMY))
    if "sharded" in sys.argv:
        sharding()
        for stage in "12":
            train(tiny.vlm(), data, folder, config, RefusalPhrases(), stage=stage, progress=killing)
        sys.exit()
    for level in (1, 2):
        if f"zero{level}" in sys.argv:
            zeroing(level)
    vlm = tiny.vlm()
    vlm(tiny.samples())
    hooks, before = tiny.hooks(vlm.model), {name: tensor.clone() for name, tensor in vlm.model.state_dict().items()}
    calculated: set[torch.dtype] = set()

    def seen(_: Any, __: Any, output: torch.Tensor) -> None:
        if torch.is_grad_enabled():
            calculated.add(output.dtype)

    hook = vlm.anatomy.projector.register_forward_hook(seen)
    train(vlm, data, folder, config, RefusalPhrases(), progress=killing)
    hook.remove()
    after = vlm.model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert tiny.hooks(vlm.model) == hooks
    assert all(parameter.requires_grad and not parameter._backward_hooks for parameter in vlm.model.parameters())
    assert calculated == {torch.bfloat16 if "bf16" in sys.argv else torch.float32}, calculated
