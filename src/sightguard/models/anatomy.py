"""Finds the parts of a loaded vision-language model by structure and public accessors.

Layer l is the OUTPUT of decoder block l, 0-based. transformers counts one further: `hidden_states[l + 1]` is our layer l, but
its last entry comes after the final norm. States are therefore read with our own hooks.
"""

from __future__ import annotations

import contextlib
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from sightguard.errors import LayoutNotFound, NoVision, UnknownName, UsageError
from sightguard.models.layouts import CROSSING, PROJECTOR_PATHS
from sightguard.models.placement import device_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class Anatomy:
    """The parts that methods touch. Modules are the model's own, not copies."""

    base: nn.Module
    """All but the output head: pictures and text in, hidden states out."""
    decoder: nn.Module
    blocks: nn.ModuleList
    norm: nn.Module
    head: nn.Module
    embeddings: nn.Module
    vision: nn.Module
    projector: nn.Module
    hidden_size: int
    image_token_id: int
    token_types: bool = False
    """Whether the model reads `token_type_ids`."""
    crossing: frozenset[int] = frozenset()
    """Blocks that only look at pictures (cross-attention); the model skips them on text alone."""

    @property
    def device(self) -> torch.device:
        """Where inputs go: the device of the embeddings. Blocks may run on others; their states say on which."""
        return device_of(self.embeddings)

    @property
    def depth(self) -> int:
        """Number of decoder blocks."""
        return len(self.blocks)

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that methods may read and edit: every block that runs on text alone too."""
        return tuple(layer for layer in range(self.depth) if layer not in self.crossing)

    def check_layers(self, layers: Sequence[int]) -> tuple[int, ...]:
        """Return `layers` sorted and distinct.

        Raises:
            UnknownName: a layer that the model does not have.
            UsageError: no layer, or one that does not run on text alone.
        """
        if not len(layers):
            raise UsageError("expected at least one layer; got none")
        for layer in layers:
            if not 0 <= layer < self.depth:
                raise UnknownName(
                    "layer", layer, range(self.depth), "Layer l is the output of decoder block l, 0-based."
                )
            if layer in self.crossing:
                raise UsageError(
                    f"layer {layer} is a cross-attention block, which this model skips where there is no picture; it has no text-only "
                    f"state to compare with. Choose among {', '.join(map(str, self.layers))}."
                )
        return tuple(sorted(set(layers)))


def unwrap(model: nn.Module) -> PreTrainedModel:
    """Return the transformers model inside a peft wrapper, or the model itself."""
    inner = getattr(model, "get_base_model", None)
    return inner() if callable(inner) else model


def find_anatomy(model: nn.Module) -> Anatomy:
    """Find the parts of `model`.

    Raises:
        NoVision: there is no image encoder, or the configuration names no image token.
        LayoutNotFound: the decoder blocks, their norm or the projector are not where any known layout has them.
    """
    inner = unwrap(model)
    if not callable(getattr(inner, "get_encoder", None)) or not callable(getattr(inner, "get_decoder", None)):
        raise LayoutNotFound(
            f"{type(inner).__name__} is no transformers model: it has no get_encoder and get_decoder. Pass a PreTrainedModel, "
            "or a peft model around one."
        )
    if getattr(inner.config.get_text_config(), "is_encoder_decoder", False) or inner.config.is_encoder_decoder:
        raise LayoutNotFound(
            f"{type(inner).__name__} is an encoder-decoder: its decoder never reads the prompt, so there is no text-only state of it to "
            "steer by. Models whose language model reads prompt and picture in one sequence, or by cross-attention, can be guarded."
        )
    vision = _vision(inner)
    decoder = inner.get_decoder()
    blocks = _blocks(inner, decoder)
    text = inner.config.get_text_config()
    return Anatomy(
        base=inner.base_model,
        decoder=decoder,
        blocks=blocks,
        norm=_part(inner, decoder, "norm"),
        head=inner.get_output_embeddings(),
        embeddings=inner.get_input_embeddings(),
        vision=vision,
        projector=_projector(inner),
        hidden_size=int(text.hidden_size),
        image_token_id=_image_token(inner),
        token_types="token_type_ids" in inspect.signature(type(inner).forward).parameters,
        crossing=frozenset(getattr(text, CROSSING, None) or ()),
    )


def _vision(model: PreTrainedModel) -> nn.Module:
    encoder = model.get_encoder(modality="image")
    if not isinstance(encoder, nn.Module) or encoder is model or encoder is model.base_model:
        raise NoVision(
            f"{type(model).__name__} has no vision part: no image encoder was found in it. Sightguard guards vision-language "
            "models; pass one, for example a LLaVA checkpoint or 'pocket'."
        )
    return encoder


def _image_token(model: PreTrainedModel) -> int:
    for name in ("image_token_id", "image_token_index"):
        value = getattr(model.config, name, None)
        if isinstance(value, int):
            return value
    raise NoVision(
        f"the configuration of {type(model).__name__} names no image_token_id, so pictures have no place in its prompts"
    )


def _blocks(model: PreTrainedModel, decoder: nn.Module) -> nn.ModuleList:
    blocks = _part(model, decoder, "layers")
    expected = model.config.get_text_config().num_hidden_layers
    if not isinstance(blocks, nn.ModuleList) or len(blocks) != expected:
        found = len(blocks) if isinstance(blocks, nn.ModuleList) else type(blocks).__name__
        raise LayoutNotFound(
            f"the configuration of {type(model).__name__} says {expected} decoder blocks; its decoder has {found}"
        )
    return blocks


def _part(model: PreTrainedModel, decoder: nn.Module, name: str) -> nn.Module:
    part = getattr(decoder, name, None)
    if isinstance(part, nn.Module):
        return part
    names = ", ".join(child for child, _ in decoder.named_children())
    raise LayoutNotFound(
        f"no {name!r} in the decoder {type(decoder).__name__} of {type(model).__name__}. Modules there: {names}"
    )


def _projector(model: PreTrainedModel) -> nn.Module:
    for path in PROJECTOR_PATHS:
        with contextlib.suppress(AttributeError):
            projector: nn.Module = model.base_model.get_submodule(path)
            return projector
    names = ", ".join(child for child, _ in model.base_model.named_children())
    raise LayoutNotFound(
        f"no projector found in {type(model).__name__}. Looked for: {', '.join(PROJECTOR_PATHS)}. "
        f"Modules there: {names}. Add a row to sightguard/models/layouts.py."
    )
