"""Stage 2's LoRA, by peft: put into the decoder for training, taken out again as an adapter that is data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import nn

from sightguard.errors import ModelError
from sightguard.models.additions import Adapter
from sightguard.models.anatomy import unwrap
from sightguard.models.sharded import whole

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM
    from sightguard.safevlm.config import Lora

_PREFIX = "base_model.model."


def decoder_linears(vlm: VLM) -> list[str]:
    """Return the paths of every linear layer of the decoder; the output head, vision tower and projector are none of them.

    Raises:
        ModelError: there is none, as in a decoder whose experts are fused into single tensors.
    """
    inside = {id(module) for module in vlm.anatomy.decoder.modules()}
    head = id(vlm.anatomy.head)
    found = [
        name
        for name, module in unwrap(vlm.model).named_modules()
        if isinstance(module, nn.Linear) and id(module) in inside and id(module) != head
    ]
    if not found:
        raise ModelError(
            f"the decoder {type(vlm.anatomy.decoder).__name__} has no linear layer that LoRA could be put on"
        )
    return found


@contextmanager
def lora(vlm: VLM, sizes: Lora) -> Iterator[Any]:
    """Put fresh LoRA layers into the decoder of `vlm` and yield the peft model; take them out again at the end.

    Only they take gradients. Dropout is on in the adapter alone.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=sizes.rank,
        lora_alpha=int(sizes.alpha) if float(sizes.alpha).is_integer() else sizes.alpha,
        lora_dropout=sizes.dropout,
        bias="none",
        target_modules=decoder_linears(vlm),
    )
    model: Any = get_peft_model(unwrap(vlm.model), config)
    try:
        yield model
    finally:
        model.unload()


def adapter_of(model: Any, sizes: Lora) -> Adapter:
    """Return what a peft model has learnt."""
    from peft import get_peft_model_state_dict

    learnt = get_peft_model_state_dict(model).items()
    tensors = {name: whole(tensor.detach()).float().cpu().clone() for name, tensor in learnt}
    paths = sorted({name.removeprefix(_PREFIX).rsplit(".lora_", 1)[0] for name in tensors})
    layers = {
        path: (tensors[f"{_PREFIX}{path}.lora_A.weight"], tensors[f"{_PREFIX}{path}.lora_B.weight"]) for path in paths
    }
    return Adapter(layers, scale=sizes.alpha / sizes.rank)
