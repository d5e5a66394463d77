"""Embedded models with a planted fault, made with hooks of their own and never by touching the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sightguard.models.encode import Batch
from sightguard.models.vlm import VLM


class ImageBlind(VLM):
    """Reads every prompt as its text alone: no picture can change anything."""

    def encode(self, samples: Any) -> Batch:
        return super().encode([sample.without_images() for sample in samples])


def image_blind(vlm: VLM) -> VLM:
    return ImageBlind(vlm.model, vlm.processor, max_new_tokens=vlm.max_new_tokens, batch=vlm.batch)


@contextmanager
def turned(vlm: VLM, seed: int = 0) -> Iterator[None]:
    """Turn the states by a random rotation between the decoder blocks, with a picture only: nothing that reads or edits them sees the
    coordinates of text, and the answers stay as they are.
    """
    size = vlm.anatomy.hidden_size
    values = torch.randn(size, size, generator=torch.manual_seed(seed), dtype=torch.float64)
    rotation = torch.linalg.qr(values).Q.float()
    seen = {"picture": False, "now": False}

    def looks(*_: Any) -> None:
        seen["picture"] = True

    def begins(module: nn.Module, arguments: Any, keywords: dict[str, Any]) -> None:
        states = keywords.get("inputs_embeds", arguments[0] if arguments else None)
        prefill = states is None or states.shape[1] > 1
        seen["now"], seen["picture"] = prefill and seen["picture"], False

    def turn(module: nn.Module, arguments: Any, output: Tensor) -> Tensor | None:
        return output @ rotation.to(output.dtype) if seen["now"] else None

    def turn_back(module: nn.Module, arguments: Any, keywords: dict[str, Any]) -> Any:
        if not seen["now"]:
            return None
        if arguments:
            return (arguments[0] @ rotation.T.to(arguments[0].dtype), *arguments[1:]), keywords
        hidden = keywords["hidden_states"]
        return arguments, {**keywords, "hidden_states": hidden @ rotation.T.to(hidden.dtype)}

    def norm_back(module: nn.Module, arguments: Any) -> Any:
        return (arguments[0] @ rotation.T.to(arguments[0].dtype),) if seen["now"] else None

    with ExitStack() as stack:
        anatomy = vlm.anatomy
        handles = [
            anatomy.vision.register_forward_hook(looks),
            anatomy.decoder.register_forward_pre_hook(begins, with_kwargs=True),
            anatomy.norm.register_forward_pre_hook(norm_back),
            *(block.register_forward_hook(turn) for block in anatomy.blocks),
            *(block.register_forward_pre_hook(turn_back, with_kwargs=True) for block in anatomy.blocks[1:]),
        ]
        for handle in handles:
            stack.callback(handle.remove)
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
