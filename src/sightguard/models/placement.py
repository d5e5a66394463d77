"""Where a model's parts run, and what their weights are, also where accelerate keeps them on other devices, in memory or on disk.

A part whose weights are kept elsewhere holds placeholders on torch's "meta" device, which have a shape and no values; accelerate
fetches the values for each pass, onto the device on which the part runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sightguard.errors import ModelError, UsageError

DeviceMap = str | Mapping[str, int | str | torch.device]
"""As accelerate takes it: "auto", "balanced", "sequential" …, or the path of each part with its device."""


def placement(
    device_map: DeviceMap | None,
    place: torch.device | None,
    max_memory: Mapping[int | str, int | str] | None,
    offload_folder: str | Path | None,
) -> dict[str, Any]:
    """Return the options of `from_pretrained` that say where weights go; none where the model is moved as a whole.

    Args:
        device_map: for accelerate.
        place: the one device of a model that cannot be moved once it is loaded.
        max_memory: by device.
        offload_folder: for the parts on "disk".

    Raises:
        UsageError: options of a map without one, or a map with parts on disk and no folder for them.
        ModelError: accelerate is not installed.
    """
    if device_map is None:
        if max_memory is not None or offload_folder is not None:
            raise UsageError('max_memory and offload_folder belong to device_map; pass device_map="auto" too')
        return {} if place is None else {"device_map": {"": place}}
    if find_spec("accelerate") is None:
        raise ModelError("device_map needs the package 'accelerate'. Install it: pip install 'accelerate>=1.10'")
    if not isinstance(device_map, str) and "disk" in device_map.values() and offload_folder is None:
        raise UsageError('a device_map with parts on "disk" needs offload_folder=, a folder for their weights')
    told = {"max_memory": max_memory, "offload_folder": offload_folder}
    given = {name: dict(value) if isinstance(value, Mapping) else value for name, value in told.items() if value}
    return {"device_map": device_map if isinstance(device_map, str) else dict(device_map), **given}


def device_of(module: nn.Module) -> torch.device:
    """Return the device that a module takes its inputs on; the CPU where it has no weights."""
    for part in module.modules():
        runs_on = getattr(getattr(part, "_hf_hook", None), "execution_device", None)
        if runs_on is not None:
            return torch.device(runs_on)
    tensors = chain(module.parameters(), module.buffers())
    return next((tensor.device for tensor in tensors if tensor.device.type != "meta"), torch.device("cpu"))


@contextmanager
def present(module: nn.Module) -> Iterator[None]:
    """Have the values of a module's own parameters (not those of its children) there inside the `with`, on the CPU if they were away.

    Raises:
        ModelError: the values are nowhere.
    """
    if not any(parameter.is_meta for parameter in module.parameters(recurse=False)):
        yield
        return
    if not _is_offloaded(module):
        raise ModelError(
            f"the weights of {type(module).__name__} are not loaded: they are on torch's 'meta' device, and accelerate does not keep them. "
            "Load the model with its weights, by VLM.load or from_pretrained."
        )
    from accelerate.utils import align_module_device

    with align_module_device(module, torch.device("cpu")):
        yield


def _is_offloaded(module: nn.Module) -> bool:
    hook: Any = getattr(module, "_hf_hook", None)
    hooks = getattr(hook, "hooks", (hook,))  # accelerate may chain several
    return any(getattr(one, "offload", False) for one in hooks)
