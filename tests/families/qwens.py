"""Grids of pieces, and positions that turn with the picture (M-RoPE)."""

from __future__ import annotations

from typing import Any

import transformers as t
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from tests.families import words
from tests.families.made import TEXT, VISION, Made, built, processor

QWEN = ("<|vision_start|>", "<|vision_end|>")
QWEN_MARK = "<|vision_start|><|image_pad|><|vision_end|>"
ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}


def _qwen(kind: str, vision: dict[str, Any], patch: int, text: dict[str, Any] | None = None) -> Made:
    tokens = words.tokenizer(QWEN, image_token="<|image_pad|>", video_token="<|video_pad|>")
    config = CONFIG_MAPPING[kind](
        vision_config={"patch_size": patch, "spatial_merge_size": 2, "temporal_patch_size": 2, "depth": 2, "num_heads": 2, **vision},
        text_config={**TEXT, "rope_parameters": ROPE, **(text or {})},
        image_token_id=tokens.image_token_id, video_token_id=tokens.video_token_id,
        vision_start_token_id=tokens.convert_tokens_to_ids(QWEN[0]), vision_end_token_id=tokens.convert_tokens_to_ids(QWEN[1]),
    )  # fmt: skip
    pictures = t.Qwen2VLImageProcessorPil(
        patch_size=patch,
        merge_size=2,
        temporal_patch_size=2,
        size={"shortest_edge": (4 * patch) ** 2, "longest_edge": (8 * patch) ** 2},
    )
    return built(config, tokens), processor(config, pictures, tokens, QWEN_MARK)


def qwen2_vl() -> Made:
    return _qwen("qwen2_vl", {"embed_dim": 16, "hidden_size": 32}, 4)


def qwen2_5_vl() -> Made:
    vision = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "out_hidden_size": 32,
        "window_size": 16,
        "fullatt_block_indexes": [1],
    }
    return _qwen("qwen2_5_vl", vision, 4)


QWEN3 = {"hidden_size": 16, "intermediate_size": 32, "out_hidden_size": 32, "num_position_embeddings": 16}


def qwen3_vl() -> Made:
    return _qwen("qwen3_vl", {**QWEN3, "deepstack_visual_indexes": [0, 1]}, 4)


def qwen3_vl_moe() -> Made:
    experts = {"moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2, "num_local_experts": 4}
    return _qwen("qwen3_vl_moe", {**QWEN3, "deepstack_visual_indexes": [0, 1]}, 4, experts)


def qwen3_5() -> Made:
    state = {
        "linear_conv_kernel_dim": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
        "layer_types": ["linear_attention", "linear_attention", "linear_attention", "full_attention"],
        "rope_parameters": {**ROPE, "partial_rotary_factor": 1.0},
    }  # fmt: skip
    return _qwen("qwen3_5", QWEN3, 4, state)


def qwen3_5_moe() -> Made:
    experts = {
        "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2,
        "linear_conv_kernel_dim": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
        "layer_types": ["linear_attention", "linear_attention", "linear_attention", "full_attention"],
        "rope_parameters": {**ROPE, "partial_rotary_factor": 1.0},
    }  # fmt: skip
    return _qwen("qwen3_5_moe", QWEN3, 4, experts)


def glm4v() -> Made:
    tokens = words.tokenizer(
        ["<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>"],
        image_token="<|image|>",
        video_token="<|video|>",
    )
    ids = tokens.convert_tokens_to_ids
    config = t.Glm4vConfig(
        vision_config={
            "patch_size": 4, "spatial_merge_size": 2, "temporal_patch_size": 2, "depth": 2, "num_heads": 2, "hidden_size": 16,
            "intermediate_size": 32, "out_hidden_size": 32, "image_size": 16,
        },
        text_config={**TEXT, "rope_parameters": {**ROPE, "partial_rotary_factor": 1.0}},
        image_token_id=tokens.image_token_id, video_token_id=tokens.video_token_id,
        image_start_token_id=ids("<|begin_of_image|>"), image_end_token_id=ids("<|end_of_image|>"),
        video_start_token_id=ids("<|begin_of_video|>"), video_end_token_id=ids("<|end_of_video|>"),
    )  # fmt: skip
    pictures = t.Glm4vImageProcessorPil(
        patch_size=4, merge_size=2, temporal_patch_size=2, size={"shortest_edge": 512, "longest_edge": 4096}
    )
    return built(config, tokens), processor(config, pictures, tokens, "<|begin_of_image|><|image|><|end_of_image|>")


def minicpmv4_6() -> Made:
    tokens = words.tokenizer(
        [], image_token="<|image_pad|>", video_token="<|video_pad|>", image_start_token="<image>", image_end_token="</image>",
        slice_start_token="<slice>", slice_end_token="</slice>", image_id_start_token="<image_id>", image_id_end_token="</image_id>",
    )  # fmt: skip
    config = CONFIG_MAPPING["minicpmv4_6"](
        vision_config={**VISION, "image_size": 32, "insert_layer_id": 0}, insert_layer_id=0, image_size=16, patch_size=4,
        text_config={**TEXT, "model_type": "qwen3_5_text", "layer_types": ["linear_attention", "full_attention"] * 2,
            "linear_conv_kernel_dim": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_num_key_heads": 2,
            "linear_num_value_heads": 4},
        image_token_id=tokens.image_token_id, video_token_id=tokens.video_token_id,
    )  # fmt: skip
    pictures = t.MiniCPMV4_6ImageProcessorPil(patch_size=4, scale_resolution=16)
    return built(config, tokens), processor(config, pictures, tokens, "<|image_pad|>")
