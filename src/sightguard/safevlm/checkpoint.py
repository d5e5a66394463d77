"""Half-way states of a stage: what is being trained and the optimizer's moments, as one safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from sightguard.artifacts import read_tensors, write_tensors
from sightguard.errors import ArtifactError
from sightguard.models.sharded import like, whole


def write(
    path: Path,
    trained: Mapping[str, Tensor],
    optimizer: Any,
    about: Mapping[str, str],
    *,
    writes: bool = True,
) -> None:
    """Write the state of a stage; the file appears whole, by rename.

    Args:
        path: the file.
        trained: what is trained, by name. Where it is sharded, every process has to call this.
        optimizer: whose moments are kept; accelerate's or torch's.
        about: what the checkpoint says of itself.
        writes: whether this process is the one that writes.
    """
    tensors = {f"trained.{name}": whole(tensor.detach()).float().cpu().numpy() for name, tensor in trained.items()}
    for i, moments in optimizer.state_dict()["state"].items():
        for name, value in moments.items():
            tensors[f"optimizer.{i}.{name}"] = whole(torch.as_tensor(value)).cpu().numpy()
    if writes:
        write_tensors(path, tensors, metadata=about)


def about(path: Path) -> dict[str, str]:
    """Return what a checkpoint says of itself; empty where there is none.

    Raises:
        ArtifactError: the file is broken.
    """
    if not path.is_file():
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except Exception as error:
        raise ArtifactError(
            f"the checkpoint {path} cannot be read: {error}. Remove it to begin its stage again."
        ) from error


def read(path: Path, trained: Mapping[str, Tensor], optimizer: Any) -> None:
    """Load a checkpoint into what is being trained, in place."""
    tensors = {name: torch.from_numpy(array.copy()) for name, array in read_tensors(path).items()}
    known = {name.removeprefix("trained.") for name in tensors if name.startswith("trained.")}
    if known != set(trained):
        raise ArtifactError(
            f"the checkpoint {path} is of another training: it holds {len(known)} tensors, expected {len(trained)}"
        )
    with torch.no_grad():
        for name, tensor in trained.items():
            tensor.copy_(like(tensors[f"trained.{name}"], tensor))
    moments: dict[int, dict[str, Any]] = {}
    learnt = list(trained.values())
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, i, key = name.split(".")
            moments.setdefault(int(i), {})[key] = like(tensor, learnt[int(i)]) if key != "step" else tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
