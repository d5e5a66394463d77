"""Half-way states of a build as one safetensors file, so that a write is whole or did not happen."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The objects whose state a checkpoint holds."""

    model: nn.Module
    extra: nn.Module
    optimizer: torch.optim.Optimizer
    teacher: nn.Module | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What was done of a stage, over all runs that had a part in it."""

    steps: int = 0
    seconds: float = 0.0
    losses: tuple[float, ...] = ()
    """Of the last steps."""


def write_checkpoint(path: Path, state: Checkpoint, stage: str, done: Done) -> None:
    """Write the state of a stage; the file appears whole, by rename."""
    tensors = {f"model.{name}": tensor for name, tensor in state.model.state_dict().items()}
    tensors |= {f"extra.{name}": tensor for name, tensor in state.extra.state_dict().items()}
    if state.teacher is not None:
        tensors |= {f"teacher.{name}": tensor for name, tensor in state.teacher.state_dict().items()}
    for i, moments in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{name}": tensor for name, tensor in moments.items()}
    about = {"steps": str(done.steps), "seconds": str(done.seconds), "losses": json.dumps(done.losses)}
    write_tensors(path, tensors, {"stage": stage, **about})


def read_checkpoint(path: Path, state: Checkpoint, stage: str) -> Done:
    """Load the state in place and return what was done; nothing if the file is of another stage."""
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
        if about["stage"] != stage:
            return Done()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    state.model.load_state_dict(_under(tensors, "model."))
    state.extra.load_state_dict(_under(tensors, "extra."))
    if state.teacher is not None:
        state.teacher.load_state_dict(_under(tensors, "teacher."))
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _under(tensors, "optimizer.").items():
        i, key = name.split(".")
        moments.setdefault(int(i), {})[key] = tensor
    whole = state.optimizer.state_dict()
    state.optimizer.load_state_dict({"state": moments, "param_groups": whole["param_groups"]})
    return Done(int(about["steps"]), float(about["seconds"]), tuple(json.loads(about["losses"])))


def write_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, str] | None = None) -> None:
    """Write tensors to a temporary file beside `path`, then rename it."""
    half = path.with_name(path.name + ".half")
    # Tied weights share memory, which safetensors refuses: each name gets its own copy.
    save_file({name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}, half, metadata=about)
    half.replace(path)


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
