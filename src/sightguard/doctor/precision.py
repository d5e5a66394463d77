"""Whether the whole model computes in one dtype, with an edit in place and without."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sightguard.doctor.edits import Push
from sightguard.doctor.probes import pictured
from sightguard.environment import Check
from sightguard.models.hooks import alone, editing, hooked

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from sightguard.models.vlm import VLM


def check_dtype(vlm: VLM) -> Check:
    """What embeddings, projector, every block, final norm and head give has the dtype of the model."""
    plain = given_dtypes(vlm)
    layers = vlm.anatomy.layers
    push = Push(layers, torch.zeros(1, vlm.anatomy.hidden_size))
    with editing(vlm.model, vlm.anatomy, layers, lambda prompt: push):
        edited = given_dtypes(vlm)
    found = {**plain, **{f"{name}, edited": dtype for name, dtype in edited.items()}}
    wrong = [f"{name} gives {dtype}" for name, dtype in found.items() if dtype != vlm.model.dtype]
    detail = "; ".join(wrong) or f"{vlm.model.dtype} at {len(plain)} places, with an edit and without"
    return Check("dtype", "fail" if wrong else "pass", len(wrong), 0, detail)


def given_dtypes(vlm: VLM) -> dict[str, torch.dtype]:
    """Return the dtype of what each part gives in one pass over a prompt with a picture."""
    found: dict[str, torch.dtype] = {}
    parts: dict[str, nn.Module] = {
        name: getattr(vlm.anatomy, name) for name in ("embeddings", "projector", "norm", "head")
    }
    parts |= {f"block {layer}": block for layer, block in enumerate(vlm.anatomy.blocks)}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            given = output[0] if isinstance(output, tuple | list) else output
            if isinstance(given, Tensor):
                found[name] = given.dtype

        return hook

    batch = vlm.encode(pictured()[:1])
    with alone(vlm.anatomy), ExitStack() as stack, torch.no_grad():
        for name, part in parts.items():
            stack.enter_context(hooked(part, after=keep(name)))
        vlm.model(**batch.inputs, use_cache=False)
    return found
