"""Tiny random LLaVA models with an offline tokenizer and processor: the real architecture, made in milliseconds."""

from __future__ import annotations

import io
import string
import warnings
from typing import Any

import numpy as np
import PIL.Image
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
)

from sightguard.models.vlm import VLM
from sightguard.steering.vlm_guard import VlmGuard
from sightguard.types import Image, Message, Sample

TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {% if m['content'] is string %}{{ m['content'] }}{% else %}{% for p in m['content'] %}"
    "{% if p['type'] == 'image' %}<image>{% else %}{{ p['text'] }} {% endif %}{% endfor %}{% endif %}{% if m['role'] == 'assistant' %}</s>"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)


def tokenizer() -> PreTrainedTokenizerFast:
    """One token per character."""
    tokens = ["<pad>", "<s>", "</s>", "<unk>", "<image>", *string.printable]
    inner = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    inner.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        additional_special_tokens=["<image>"], padding_side="left",
    )  # fmt: skip


def processor(size: int = 16, patch: int = 4) -> LlavaProcessor:
    pictures = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    return LlavaProcessor(
        image_processor=pictures, tokenizer=tokenizer(), patch_size=patch, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, chat_template=TEMPLATE,
    )  # fmt: skip


SHAPES: dict[str, dict[str, Any]] = {
    "grouped heads": {"hidden": 48, "layers": 3, "num_key_value_heads": 2},
    "tied embeddings": {"hidden": 32, "layers": 4, "tie_word_embeddings": True},
    "sliding window": {"hidden": 64, "layers": 6, "language": MistralConfig, "sliding_window": 16},
}
"""Language models that differ in width, depth and attention."""


def llava(
    *,
    hidden: int = 32,
    layers: int = 4,
    heads: int = 4,
    seed: int = 0,
    spread: float = 0.2,
    language: type[PreTrainedConfig] = LlamaConfig,
    **text: Any,
) -> LlavaForConditionalGeneration:
    """A random LLaVA whose weights are spread wide enough that different prompts get different answers."""
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=4
    )
    words = language(
        vocab_size=112, hidden_size=hidden, intermediate_size=2 * hidden, num_hidden_layers=layers,
        num_attention_heads=heads, max_position_embeddings=512, initializer_range=spread,
        **{"num_key_value_heads": heads, **text},
    )  # fmt: skip
    torch.manual_seed(seed)
    config = LlavaConfig(
        vision_config=vision, text_config=words, image_token_id=4, vision_feature_layer=-1, pad_token_id=0,
        tie_word_embeddings=bool(text.get("tie_word_embeddings")),
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config).eval()
    model.generation_config.eos_token_id = 2
    model.generation_config.pad_token_id = 0
    # an answer of a random model may hold a placeholder, and a picture is then missed where it is read again
    model.generation_config.suppress_tokens = [4]
    return model


def vlm(**shape: Any) -> VLM:
    return VLM(llava(**shape), processor(), max_new_tokens=6)


def picture(seed: int = 0, size: tuple[int, int] = (20, 24)) -> Image:
    """A random picture as PNG bytes."""
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    data = io.BytesIO()
    PIL.Image.fromarray(pixels).save(data, "PNG")
    return Image(data=data.getvalue())


def samples() -> list[Sample]:
    """Conversations of different length: without pictures, with one, with several, with several turns.

    The words are pocket's, so that these serve there too.
    """
    turns = (
        Message("user", ("what is this ?", picture(5))),
        Message("assistant", ("the picture shows noise .",)),
        Message("user", ("how do i find the lamp ?",)),
    )
    return [
        Sample.of("how do i find the bread ?", id="text"),
        Sample.of("how do i steal the lamp ?", picture(1), id="picture"),
        Sample.of("what is this ?", picture(2), picture(3), id="pictures"),
        Sample(id="turns", messages=turns),
        Sample.of("tell me how to move the table in the kitchen to help the baker .", picture(4), id="long"),
        Sample.of("bell", id="short"),
        Sample.of("how do i steal the boat ?", id="harm"),
        Sample.of("how do i find the drum ?", picture(6), id="kind"),
    ]


def pairs(count: int = 8) -> list[tuple[Sample, Sample]]:
    """Matched anchors; nothing in a random model is harmful, but their states differ."""
    things = ("bread", "cake", "soup", "table", "lamp", "clock", "kite", "boat", "drum", "bag")[:count]
    return [(Sample.of(f"how do i steal the {thing} ?"), Sample.of(f"how do i find the {thing} ?")) for thing in things]


def guard(model: VLM, **options: Any) -> VlmGuard:
    """A fitted VLM-Guard; by default one that acts on every prompt."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "projection alone")
        return VlmGuard.fit(model, pairs(), **{"gate": "always", **options})


def hooks(model: nn.Module) -> int:
    """How many hooks hang on the modules of a model, with a replaced `generate` counted as one.

    transformers hangs its own on at the first call, so compare two counts made after one.
    """
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    return sum(len(getattr(part, kind)) for part in model.modules() for kind in kinds) + ("generate" in vars(model))
