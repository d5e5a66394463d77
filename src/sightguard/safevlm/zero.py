"""Optimizer and gradients that are shared out over processes: DeepSpeed's ZeRO 1 and 2, by accelerate's own configuration.

Weights stay whole on every process, so the model answers while it is trained. How many records make a step, how often gradients are
added up and where they are clipped is the training's own; DeepSpeed's configuration leaves it out, says "auto" or says the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from sightguard.errors import TrainingStopped, UsageError
from sightguard.safevlm.config import CLIP, Config, Stage


def asked() -> bool:
    """Return whether accelerate was launched for DeepSpeed; on a CPU it does without."""
    from accelerate.utils import parse_flag_from_env

    return bool(parse_flag_from_env("ACCELERATE_USE_DEEPSPEED"))


def used(accelerator: Any) -> bool:
    """Return whether accelerate works by DeepSpeed."""
    from accelerate.utils import DistributedType

    return bool(accelerator.distributed_type == DistributedType.DEEPSPEED)


def check_zero(given: Mapping[str, Any], config: Config, stages: Sequence[Stage], processes: int) -> None:
    """Raise UsageError for a configuration of DeepSpeed that this training cannot work with, or that contradicts it.

    Args:
        given: DeepSpeed's configuration.
        config: the training's.
        stages: those that are to be trained.
        processes: how many there are.
    """
    zero = given.get("zero_optimization", {})
    _check_level(zero.get("stage"))
    _check_precision(given, config.precision)
    _check_parts(given, zero)
    for stage in stages:
        for name, wanted in _settings(stage, processes).items():
            if not _open(name, given) and given[name] != wanted:
                raise UsageError(
                    f"DeepSpeed's configuration says {name}: {given[name]}, the training's {wanted}; write \"auto\" there, or make them equal"
                )


def _check_level(level: Any) -> None:
    if level == 3:
        raise UsageError(
            "DeepSpeed's ZeRO 3 shares out weights, and no model answers here while it is trained so; use FSDP 2, which shards weights, or ZeRO "
            "1 or 2"
        )
    if level not in (1, 2):
        raise UsageError(f"DeepSpeed's configuration should hold a zero_optimization.stage of 1 or 2; found {level!r}")


def _check_precision(given: Mapping[str, Any], precision: str) -> None:
    if precision == "fp16":
        raise UsageError(
            "under DeepSpeed precision is 'bf16' or 'no'; 'fp16' needs a loss that is scaled, which is not done here"
        )
    for name in ("bf16", "fp16", "amp", "torch_autocast"):
        if given.get(name, {}).get("enabled"):
            raise UsageError(
                f"DeepSpeed's configuration enables {name}, which changes the model's own weights or what processes exchange; remove it, and "
                f"set `precision` in the configuration of the training (now {precision!r})"
            )


def _check_parts(given: Mapping[str, Any], zero: Mapping[str, Any]) -> None:
    for name in ("optimizer", "scheduler"):
        if name in given:
            raise UsageError(f"DeepSpeed's configuration holds {name!r}, which the training brings itself; remove it")
    for name in ("offload_optimizer", "offload_param"):
        device = (zero.get(name) or {}).get("device", "none")
        if device != "none":
            raise UsageError(
                f"DeepSpeed's configuration sets {name} to {device!r}, which this training does not do; remove it: little is trained, so little "
                "would be saved"
            )


def prepared(
    accelerator: Any, learner: nn.Module, optimizer: torch.optim.Optimizer, stage: Stage, precision: str
) -> tuple[nn.Module, Any]:
    """Return DeepSpeed's engine around a learner, and what steps it: an optimizer as the training knows them.

    Args:
        accelerator: of `accelerate`, set up for DeepSpeed.
        learner: what is trained.
        optimizer: of the weights that learn.
        stage: what a step is made of.
        precision: "no" or "bf16", in which the learner calculates; its weights stay as they are.
    """
    if precision == "bf16":
        # DeepSpeed ends an autocast from outside, and accelerate begins none
        learner.forward = torch.autocast(accelerator.device.type, torch.bfloat16)(learner.forward)
    accelerator.gradient_accumulation_steps = stage.accumulate
    with _filled(accelerator.deepspeed_plugin.deepspeed_config, _settings(stage, accelerator.num_processes)):
        engine, _ = accelerator.prepare(learner, optimizer)
    driven = Driven(accelerator, engine, optimizer)
    accelerator.deepspeed_engine_wrapped = driven
    return engine, driven


class Driven:
    """An engine as the training drives it: backward passes add up, and the step is a step.

    It takes the place of accelerate's own wrapper, which steps in every backward pass.
    """

    def __init__(self, accelerator: Any, engine: Any, optimizer: torch.optim.Optimizer) -> None:
        self.accelerator, self.engine, self.optimizer = accelerator, engine, optimizer

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return self.optimizer.param_groups

    def backward(self, loss: Tensor, **_: Any) -> None:
        self.engine.backward(loss, scale_wrt_gas=False)  # the training has divided it already

    def get_global_grad_norm(self) -> None:
        """Clip nothing: the engine does, when it steps."""

    def zero_grad(self) -> None:
        """Leave gradients: the engine clears them behind each step."""

    def step(self) -> None:
        """Clip and step.

        Raises:
            TrainingStopped: a gradient is not finite.
        """
        self.engine.step()
        if not self.engine.was_step_applied():
            raise TrainingStopped("a gradient is not finite; lower the learning rate")

    def state_dict(self) -> dict[str, Any]:
        """Return the state of all processes in one piece; every process has to call this."""
        return self._each(self.optimizer.state_dict(), self.accelerator.gather)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take this process's part of a state of as many processes, and the weights as they are."""
        processes, place = self.accelerator.num_processes, self.accelerator.process_index
        self.optimizer.load_state_dict(self._each(state, lambda whole: whole.chunk(processes)[place]))
        self.engine.optimizer.refresh_fp32_params()

    def _each(self, state: Mapping[str, Any], turned: Callable[[Tensor], Tensor]) -> dict[str, Any]:
        """Return a state with its moments turned; the count of steps is every process's own."""
        moments = {
            i: {name: value if name == "step" else turned(value) for name, value in kept.items()}
            for i, kept in state["state"].items()
        }
        return {**state, "state": moments}


def _settings(stage: Stage, processes: int) -> dict[str, float]:
    return {
        "train_micro_batch_size_per_gpu": stage.batch,
        "gradient_accumulation_steps": stage.accumulate,
        "train_batch_size": stage.batch * stage.accumulate * processes,
        "gradient_clipping": CLIP,
    }


def _open(name: str, given: Mapping[str, Any]) -> bool:
    """Return whether a configuration leaves a setting to the training; for accelerate a 1 stands for no accumulation that was named."""
    return given.get(name) in (None, "auto") or (name, given[name]) == ("gradient_accumulation_steps", 1)


@contextmanager
def _filled(given: dict[str, Any], settings: Mapping[str, Any]) -> Iterator[None]:
    """Complete DeepSpeed's configuration inside the `with`; the next stage has other settings."""
    before = deepcopy(given)
    zero = {name: value for name, value in given["zero_optimization"].items() if value != "auto"}
    given.update(settings, zero_optimization=zero)
    try:
        yield
    finally:
        given.clear()
        given.update(before)
