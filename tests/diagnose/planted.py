"""Embedded models with a planted fault, made around their blocks and never by touching the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sightguard.models.encode import Batch
from sightguard.models.vlm import VLM
from sightguard.types import Step


@dataclass(frozen=True)
class Add:
    """Adds a vector, `hidden`, to the state of the last prompt token."""

    vector: Tensor
    layers: tuple[int, ...]
    name: str = "add"
    decodes: bool = False

    def edit(self, hidden: Tensor, step: Step) -> Tensor:
        edited: Tensor = hidden + step.last[..., None] * self.vector.to(hidden)
        return edited


class ImageBlind(VLM):
    """Reads every prompt as its text alone: no picture can change anything."""

    def encode(self, samples: Any) -> Batch:
        return super().encode([sample.without_images() for sample in samples])


def image_blind(vlm: VLM) -> VLM:
    return ImageBlind(vlm.model, vlm.processor, max_new_tokens=vlm.max_new_tokens, batch=vlm.batch)


@contextmanager
def turned(vlm: VLM, seed: int = 0) -> Iterator[None]:
    """Turn the states between the decoder blocks by a random rotation, beside a picture only.

    Whatever reads or edits them there meets other coordinates than those of text, and the answers stay as they are. The turning is
    inside the blocks, since hooks that edit come before those that were there.
    """
    anatomy = vlm.anatomy
    values = torch.randn(
        anatomy.hidden_size, anatomy.hidden_size, generator=torch.manual_seed(seed), dtype=torch.float64
    )
    rotation = torch.linalg.qr(values).Q.float()
    seen = {"picture": False, "now": False}

    def looks(*_: Any) -> None:
        seen["picture"] = True

    def begins(module: nn.Module, arguments: Any, keywords: dict[str, Any]) -> None:
        states = keywords.get("inputs_embeds", arguments[0] if arguments else None)
        seen["now"] = seen["picture"] and (states is None or states.shape[1] > 1)
        seen["picture"] = False

    def turning(block: nn.Module, first: bool) -> Any:
        inner = block.forward

        def forward(hidden_states: Tensor, *arguments: Any, **keywords: Any) -> Any:
            if not seen["now"]:
                return inner(hidden_states, *arguments, **keywords)
            output: Tensor = inner(hidden_states if first else hidden_states @ rotation.T, *arguments, **keywords)
            turned: Tensor = output @ rotation
            return turned

        return forward

    def turn_back(module: nn.Module, arguments: Any) -> Any:
        return (arguments[0] @ rotation.T,) if seen["now"] else None

    with ExitStack() as stack:
        for handle in (
            anatomy.vision.register_forward_hook(looks),
            anatomy.decoder.register_forward_pre_hook(begins, with_kwargs=True),
            anatomy.norm.register_forward_pre_hook(turn_back),
        ):
            stack.callback(handle.remove)
        for place, block in enumerate(anatomy.blocks):
            block.forward = turning(block, place == 0)
            stack.callback(vars(block).pop, "forward")
        yield


@contextmanager
def noisy(vlm: VLM, scale: float = 30.0) -> Iterator[None]:
    """Drown the states after the first block in noise, so that nothing tells harmful from harmless any more."""
    generator = torch.Generator().manual_seed(0)

    def drown(module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
        return output + scale * torch.randn(output.shape, generator=generator)

    handle = vlm.anatomy.blocks[0].register_forward_hook(drown)
    try:
        yield
    finally:
        handle.remove()
