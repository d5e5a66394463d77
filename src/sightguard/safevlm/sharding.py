"""Weights that are shared out over processes: FSDP, by accelerate's own configuration.

Under FSDP2 (`fully_shard`) every decoder layer gathers its weights when it runs and lets go of them behind it, whoever calls
it; so the model answers while it is trained. What stands outside the layers (embeddings, projector, safety modules) forms the
outermost unit, which gathers in its own pass alone: `gather` brings it together for whoever reads it outside of that pass.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from sightguard.errors import UsageError
from sightguard.models.sharded import sharded, whole
from sightguard.safevlm.config import Config
from sightguard.safevlm.modules import SafetyModules
from sightguard.safevlm.zero import check_zero, used


def check_sharding(accelerator: Any, stage: str, config: Config) -> None:
    """Raise UsageError for a way of sharing out that this training cannot work with.

    Args:
        accelerator: of `accelerate`.
        stage: "1", "2" or "both".
        config: of the training.
    """
    from accelerate.utils import DistributedType

    kind = accelerator.distributed_type
    if used(accelerator):
        stages = [chosen for name, chosen in (("1", config.stage1), ("2", config.stage2)) if stage in (name, "both")]
        check_zero(accelerator.deepspeed_plugin.deepspeed_config, config, stages, accelerator.num_processes)
    if kind == DistributedType.MEGATRON_LM:
        raise UsageError(
            f"accelerate is set up for {kind.value}, which this training cannot work with; use FSDP 2, which shards weights too, or plain "
            "data parallelism"
        )
    if kind != DistributedType.FSDP:
        return
    if not accelerator.is_fsdp2:
        raise UsageError(
            "accelerate is set up for FSDP 1, where a model cannot answer while it is trained; set fsdp_version: 2 in its configuration"
        )
    if stage == "both":
        raise UsageError(
            "under FSDP each stage is a run of its own, since sharded weights stay sharded: run with --stage 1, then with --stage 2 and "
            "the same --out"
        )


def units(model: nn.Module) -> list[str]:
    """Return the names of the classes of which each module is a unit of its own: what transformers says must not be split."""
    named = set(getattr(model, "_no_split_modules", None) or ())
    return sorted({type(module).__name__ for module in model.modules()} & named)


def gather(learner: nn.Module) -> None:
    """Bring the outermost unit together, where weights are sharded; it falls apart again at the next backward pass."""
    unshard = getattr(learner, "unshard", None)
    if unshard is not None:
        unshard()


def together(modules: SafetyModules) -> SafetyModules:
    """Return the safety modules in one piece: themselves, or where they are sharded a copy, for which every process has to call this."""
    state = modules.state_dict()
    if not any(sharded(tensor) for tensor in state.values()):
        return modules
    copy = SafetyModules(modules.shape)
    copy.load_state_dict({name: whole(tensor) for name, tensor in state.items()})
    return copy.requires_grad_(False)
