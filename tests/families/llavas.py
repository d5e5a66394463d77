"""LLaVA and what is built like it."""

from __future__ import annotations

from typing import Any

import transformers as t
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from sightguard.models.processors import processor_class
from tests.families import words
from tests.families.made import SIDE, TEXT, VISION, Made, built, processor


def llava() -> Made:
    tokens = words.tokenizer([], image_token="<image>")
    config = t.LlavaConfig(
        vision_config=t.CLIPVisionConfig(**VISION),
        text_config=t.LlamaConfig(**TEXT),
        image_token_id=tokens.image_token_id,
        vision_feature_layer=-1,
    )
    pictures = t.CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=SIDE)
    options = {"patch_size": 4, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return built(config, tokens), processor(config, pictures, tokens, "<image>", **options)


def llava_next() -> Made:
    tokens = words.tokenizer([], image_token="<image>")
    grid = [[16, 32], [32, 16], [32, 32]]
    config = t.LlavaNextConfig(
        vision_config=t.CLIPVisionConfig(**VISION), text_config=t.MistralConfig(**TEXT), image_token_id=tokens.image_token_id,
        vision_feature_layer=-1, image_grid_pinpoints=grid,
    )  # fmt: skip
    pictures = t.LlavaNextImageProcessorPil(size={"shortest_edge": 16}, crop_size=SIDE, image_grid_pinpoints=grid)
    options = {"patch_size": 4, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return built(config, tokens), processor(config, pictures, tokens, "<image>", **options)


def llava_onevision() -> Made:
    tokens = words.tokenizer([], image_token="<image>", video_token="<video>")
    grid = [[16, 32], [32, 16], [32, 32]]
    config = t.LlavaOnevisionConfig(
        vision_config=t.SiglipVisionConfig(**VISION), text_config=t.Qwen2Config(**TEXT), image_token_id=tokens.image_token_id,
        video_token_id=tokens.video_token_id, image_grid_pinpoints=grid,
    )  # fmt: skip
    pictures = t.LlavaOnevisionImageProcessorPil(size=SIDE, image_grid_pinpoints=grid)
    options = {"num_image_tokens": 16, "vision_feature_select_strategy": "full"}
    return built(config, tokens), processor(config, pictures, tokens, "<image>", **options)


def vipllava() -> Made:
    tokens = words.tokenizer([], image_token="<image>")
    config = t.VipLlavaConfig(
        vision_config=t.CLIPVisionConfig(**VISION), text_config=t.LlamaConfig(**TEXT), image_token_id=tokens.image_token_id,
        vision_feature_layers=[-1, 1], vision_feature_layer=[-1, 1],
    )  # fmt: skip
    pictures = t.CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=SIDE)
    options = {"patch_size": 4, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return built(config, tokens), processor(config, pictures, tokens, "<image>", **options)


def _pixtral(kind: str, **options: Any) -> Made:
    tokens = words.tokenizer(["[IMG_BREAK]", "[IMG_END]"], image_token="[IMG]")
    vision = t.PixtralVisionConfig(**{**VISION, "image_size": 32}, head_dim=8)
    config = CONFIG_MAPPING[kind](
        vision_config=vision, text_config=t.MistralConfig(**TEXT), vision_feature_layer=-1, **options
    )
    config.image_token_id = tokens.image_token_id
    merge = getattr(config, "spatial_merge_size", 1)
    pictures = t.PixtralImageProcessorPil(
        size={"longest_edge": 24}, patch_size={"height": 4 * merge, "width": 4 * merge}
    )
    made = processor_class(t.Mistral3Config())
    assert made is not None
    return built(config, tokens), made(
        image_processor=pictures,
        tokenizer=tokens,
        chat_template=words.template("[IMG]"),
        patch_size=4,
        spatial_merge_size=merge,
    )


def pixtral() -> Made:
    return _pixtral("llava", vision_feature_select_strategy="full")


def mistral3() -> Made:
    return _pixtral("mistral3", spatial_merge_size=2)


def internvl() -> Made:
    tokens = words.tokenizer(
        [],
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )
    config = t.InternVLConfig(
        vision_config={**VISION, "image_size": [16, 16], "patch_size": [4, 4]}, text_config=t.Qwen2Config(**TEXT),
        image_token_id=tokens.context_image_token_id, image_seq_length=4, tie_word_embeddings=False,
    )  # fmt: skip
    pictures = t.GotOcr2ImageProcessorPil(size=SIDE, crop_to_patches=True, min_patches=1, max_patches=4)
    return built(config, tokens), processor(config, pictures, tokens, "<IMG_CONTEXT>", image_seq_length=4)


def aya_vision() -> Made:
    tokens = words.tokenizer(
        [
            "<|START_OF_IMG|>",
            "<|END_OF_IMG|>",
            "<|IMG_PATCH|>",
            "<|IMG_LINE_BREAK|>",
            "TILE_GLOBAL",
            *(f"TILE_{i}" for i in range(1, 13)),
        ],
        image_token="<image>",
    )
    config = t.AyaVisionConfig(
        vision_config=t.SiglipVisionConfig(**VISION), text_config=t.Cohere2Config(**{**TEXT, "logit_scale": 1.0}),
        image_token_id=tokens.convert_tokens_to_ids("<|IMG_PATCH|>"), downsample_factor=2,
    )  # fmt: skip
    pictures = t.GotOcr2ImageProcessorPil(size=SIDE, crop_to_patches=True, min_patches=1, max_patches=4)
    return built(config, tokens), processor(
        config, pictures, tokens, "<image>", patch_size=8, img_size=16, downsample_factor=1
    )


def deepseek_vl() -> Made:
    tokens = words.tokenizer([], image_token="<image_placeholder>")
    config = t.DeepseekVLConfig(
        vision_config=t.SiglipVisionConfig(**VISION, vision_use_head=False),
        text_config=t.LlamaConfig(**TEXT),
        image_token_id=tokens.image_token_id,
    )
    pictures = t.DeepseekVLImageProcessorPil(size=SIDE, min_size=4)
    return built(config, tokens), processor(config, pictures, tokens, "<image_placeholder>", num_image_tokens=16)


def ovis2() -> Made:
    marks = [f"<IMG_{name}>" for name in ("START", "GRID", "COL", "ROW", "END")]
    tokens = words.tokenizer([*marks, "<IMG_ATOM>"], image_token="<image>")
    config = t.Ovis2Config(
        vision_config={**VISION, "vocab_size": 24, "hidden_stride": 1, "num_visual_indicator_tokens": 5},
        text_config=t.Qwen2Config(**TEXT), vocab_size=192, hidden_size=32,
        image_token_id=tokens.convert_tokens_to_ids("<IMG_ATOM>"),
        visual_indicator_token_ids=tokens.convert_tokens_to_ids(marks),
    )  # fmt: skip
    pictures = t.Ovis2ImageProcessorPil(size=SIDE)
    return built(config, tokens), processor(config, pictures, tokens, "<image>", image_seq_length=16)
