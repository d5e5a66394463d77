"""Which parts of the model were found, and whether the decoder runs its blocks as they are counted here."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch

from sightguard.doctor.probes import TEXT, pictured
from sightguard.environment import Check
from sightguard.models.anatomy import unwrap
from sightguard.models.hooks import alone, hooked

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from sightguard.models.vlm import VLM
    from sightguard.types import Sample

PARTS = ("decoder", "blocks", "norm", "head", "embeddings", "vision", "projector")


def anatomy(vlm: VLM) -> dict[str, Any]:
    """Return what was found, as plain values: of each part its path in the model, class, size and dtypes."""
    found = vlm.anatomy
    paths = {id(module): path for path, module in unwrap(vlm.model).named_modules()}
    return {
        "model": type(unwrap(vlm.model)).__name__,
        "dtype": _name(vlm.model.dtype),
        "device": str(vlm.device),
        "depth": found.depth,
        "hidden_size": found.hidden_size,
        "image_token_id": found.image_token_id,
        "image_token": vlm.processor.tokenizer.convert_ids_to_tokens(found.image_token_id),
        "parts": {name: _part(getattr(found, name), paths) for name in PARTS},
    }


def check_parts(vlm: VLM) -> Check:
    """Every part belongs to the model that answers, the blocks run once each and in order, and pictures have places in the prompt."""
    told = anatomy(vlm)
    astray = [name for name, part in told["parts"].items() if part["path"] is None]
    wrong = [f"{', '.join(astray)}: not a part of the model that answers"] if astray else []
    ran, expected = running_order(vlm, pictured()[0]), list(range(vlm.anatomy.depth))
    if ran != expected:
        wrong.append(f"the decoder ran its blocks in the order {ran}; expected {expected}")
    places = [int(vlm.encode([sample]).image.sum()) for sample in (TEXT[0], pictured()[0])]
    if places[0] or not places[1]:
        wrong.append(f"a prompt without a picture holds {places[0]} places for one, and one with a picture {places[1]}")
    found = f"{len(PARTS) - len(astray)} of {len(PARTS)} parts, {vlm.anatomy.depth} blocks, {places[1]} places for a picture"
    return Check("parts", "fail" if wrong else "pass", found, None, "; ".join(wrong))


def running_order(vlm: VLM, sample: Sample) -> list[int]:
    """Return the numbers of the decoder blocks in the order in which the whole model calls them on a prompt.

    Without a picture a model may leave out the blocks that look at pictures.
    """
    ran: list[int] = []

    def note(layer: int) -> Callable[..., None]:
        return lambda module, args, kwargs: ran.append(layer)

    batch = vlm.encode([sample])
    with alone(vlm.anatomy), ExitStack() as stack, torch.no_grad():
        for layer, block in enumerate(vlm.anatomy.blocks):
            stack.enter_context(hooked(block, before=note(layer)))
        vlm.model(**batch.inputs, use_cache=False)
    return ran


def _part(module: nn.Module, paths: dict[int, str]) -> dict[str, Any]:
    parameters = list(module.parameters())
    return {
        "path": paths.get(id(module)),
        "type": type(module).__name__,
        "parameters": sum(parameter.numel() for parameter in parameters),
        "dtypes": sorted({_name(parameter.dtype) for parameter in parameters}),
    }


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
