"""Faults planted in a tiny model, its processor or Sightguard's hooks, each as a reader's own software may have it."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sightguard.doctor import edits
from sightguard.models import hooks
from sightguard.models.vlm import VLM


class PadsRight:
    """A processor or tokenizer that pads on the right, whatever it is told."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.inner(*args, **{**kwargs, "padding_side": "right"})

    @property
    def tokenizer(self) -> Any:
        return PadsRight(self.inner.tokenizer)


def padding_on_the_right(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> VLM:
    return VLM(vlm.model, PadsRight(vlm.processor))


def hooks_that_do_nothing(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> VLM:
    monkeypatch.setattr(hooks._Session, "_edit", lambda self, hidden, layer: hidden)
    return vlm


def edits_of_another_length(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> VLM:
    edit = hooks._Session._edit
    monkeypatch.setattr(
        hooks._Session, "_edit", lambda self, hidden, layer: hidden + 1.01 * (edit(self, hidden, layer) - hidden)
    )
    return vlm


def edits_of_another_token(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> VLM:
    edit = hooks._Session._edit
    monkeypatch.setattr(
        hooks._Session, "_edit", lambda self, hidden, layer: hidden + (edit(self, hidden, layer) - hidden).roll(-1, 1)
    )
    return vlm


def a_block_that_calls_no_hooks(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> VLM:
    block = vlm.anatomy.blocks[1]
    block.__class__ = type("Fused", (type(block),), {"__call__": lambda self, *a, **k: self.forward(*a, **k)})
    return vlm


def layers_off_by_one(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> VLM:
    blocks = list(vlm.anatomy.blocks)
    return with_blocks(vlm, [*blocks[1:], blocks[0]])


def layers_off_by_one_and_the_last_twice(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> VLM:
    blocks = list(vlm.anatomy.blocks)
    return with_blocks(vlm, [*blocks[1:], blocks[-1]])


def edits_one_layer_late(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> VLM:
    shifted = layers_off_by_one(VLM(vlm.model, vlm.processor), monkeypatch).anatomy
    monkeypatch.setattr(
        edits, "editing", lambda model, anatomy, layers, bind: hooks.editing(model, shifted, layers, bind)
    )
    return vlm


def blocks_of_a_copy(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> VLM:
    return with_blocks(vlm, list(deepcopy(vlm.anatomy.blocks)))


def a_block_in_double(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> VLM:
    giving(vlm.anatomy.blocks[1], Tensor.double)
    return vlm


def a_projector_in_double(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> VLM:
    giving(vlm.anatomy.projector, Tensor.double)  # cast back by the model, so nothing else tells
    return vlm


def logits_in_half(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> VLM:
    giving(vlm.anatomy.head, Tensor.half)
    return vlm


def one_part_in_bfloat16(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> VLM:
    vlm.anatomy.vision.bfloat16()
    return vlm


def edits_in_double(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> VLM:
    edit = hooks._Session._edit
    monkeypatch.setattr(hooks._Session, "_edit", lambda self, hidden, layer: edit(self, hidden, layer).double())
    return vlm


def the_cache_of_another_prompt(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> VLM:
    """Prompts of one shape share the cache that was filled first."""
    filled: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = {}

    def after(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        shape, cache = tuple(kwargs["inputs_embeds"].shape), output.past_key_values
        if cache is None or shape[1] == 1:
            return
        for layer, held in zip(cache.layers, filled.setdefault(shape, copies(cache)), strict=True):
            layer.keys, layer.values = (part.clone() for part in held)

    vlm.anatomy.decoder.register_forward_hook(after, with_kwargs=True)
    return vlm


def a_cache_without_the_picture(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> VLM:
    """What was cached of the picture is blanked once the prompt has been read."""

    def after(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        ids, cache = kwargs["input_ids"], output.past_key_values
        if cache is None or ids.shape[1] == 1:
            return
        seen = (ids == vlm.anatomy.image_token_id)[:, None, :, None]
        for layer in cache.layers:
            layer.values = layer.values.masked_fill(seen, 0.0)

    vlm.model.base_model.register_forward_hook(after, with_kwargs=True)
    return vlm


def pictures_that_are_not_seen(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> VLM:
    giving(vlm.anatomy.projector, torch.zeros_like)
    return vlm


def padding_that_is_seen(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> VLM:
    def before(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        mask = kwargs.get("attention_mask")
        return args, {**kwargs, "attention_mask": None if mask is None else torch.ones_like(mask)}

    vlm.model.base_model.register_forward_pre_hook(before, with_kwargs=True)
    return vlm


def numbers_that_are_none(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> VLM:
    giving(vlm.anatomy.head, lambda logits: logits * torch.nan)
    return vlm


def states_that_are_no_numbers(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> VLM:
    giving(vlm.anatomy.blocks[2], lambda hidden: hidden * torch.nan)
    return vlm


def hooks_that_stay(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> VLM:
    monkeypatch.setattr(RemovableHandle, "remove", lambda self: None)
    return vlm


def giving(module: nn.Module, change: Any) -> None:
    """Change what a module gives."""
    module.register_forward_hook(
        lambda module, args, output: (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)
    )


def with_blocks(vlm: VLM, blocks: list[nn.Module]) -> VLM:
    object.__setattr__(vlm, "anatomy", replace(vlm.anatomy, blocks=nn.ModuleList(blocks)))
    return vlm


def copies(cache: Any) -> list[tuple[Tensor, Tensor]]:
    return [(layer.keys.clone(), layer.values.clone()) for layer in cache.layers]
