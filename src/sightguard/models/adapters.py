"""What a model's decoder computes with, seen through peft's wrappers: which parameters count, and under which name.

An adapter counts while it changes what the model does: not one that is disabled or not chosen, nor one that is new, whose second
matrix is still zero; and one that was merged counts through the weights that it was merged into.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from sightguard.models.placement import present

BASE = "base_layer."
"""What peft puts before the name of a weight that it wraps."""


def weights(decoder: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield name and values of what the decoder computes with: parameters, and the integers that a quantised layer keeps as buffers.

    Values are there until the next is asked for. A model in a peft wrapper whose adapter does nothing gives what the plain one does.

    Raises:
        ModelError: weights that are not loaded.
    """
    counted = {name for name, _ in decoder.named_parameters()} - set(_idle(decoder))  # of shared ones, the first name
    for prefix, module in decoder.named_modules():
        path = f"{prefix}." if prefix else ""
        kept = [name for name, _ in module.named_parameters(recurse=False) if f"{path}{name}" in counted]
        if not kept and not module._buffers:
            continue
        with present(module):
            for name in kept:
                yield f"{path}{name}".replace(BASE, ""), module.get_parameter(name).detach()
            yield from ((f"{path}{name}".replace(BASE, ""), buffer) for name, buffer in _integers(module))


def _integers(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, buffer in module.named_buffers(recurse=False):
        whole = not buffer.is_floating_point() and not buffer.is_complex()
        if whole and buffer.ndim > 1 and name not in module._non_persistent_buffers_set:
            yield name, buffer


def _idle(decoder: nn.Module) -> Iterator[str]:
    """Yield the names of adapter parameters that take no part in what the decoder computes now."""
    if "peft" not in sys.modules:
        return
    from peft.tuners.tuners_utils import BaseTunerLayer

    for prefix, module in decoder.named_modules():
        if not isinstance(module, BaseTunerLayer):
            continue
        for name, _ in module.named_parameters():
            kind, _, rest = name.partition(".")
            if kind in module.adapter_layer_names and not _works(module, rest.split(".")[0]):
                yield f"{prefix}.{name}" if prefix else name


def _works(layer: Any, adapter: str) -> bool:
    if layer.disable_adapters or adapter not in layer.active_adapters or adapter in layer.merged_adapters:
        return False
    second = getattr(layer, "lora_B", {})
    if adapter not in second:
        return True  # no LoRA of a linear layer, and not known to do nothing
    matrix = second[adapter]
    with present(matrix):
        return bool(matrix.weight.detach().any())
