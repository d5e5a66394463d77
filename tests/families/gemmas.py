"""Masks in which the pieces of a picture see each other."""

from __future__ import annotations

import transformers as t

from tests.families import words
from tests.families.made import SIDE, TEXT, VISION, Made, built, processor


def gemma3() -> Made:
    tokens = words.tokenizer(
        [], image_token="<image_soft_token>", boi_token="<start_of_image>", eoi_token="<end_of_image>"
    )
    config = t.Gemma3Config(
        vision_config=t.SiglipVisionConfig(**VISION, vision_use_head=False),
        text_config={
            **TEXT, "sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"] * 2, "query_pre_attn_scalar": 8,
            "initializer_range": 0.05,
        },
        mm_tokens_per_image=4, boi_token_id=tokens.boi_token_id, eoi_token_id=tokens.eoi_token_id, image_token_id=tokens.image_token_id,
    )  # fmt: skip
    pictures = t.Gemma3ImageProcessorPil(size=SIDE)
    return built(config, tokens), processor(config, pictures, tokens, "<start_of_image>", image_seq_length=4)


def gemma4() -> Made:
    tokens = words.tokenizer(
        [],
        image_token="<|image|>",
        boi_token="<|image>",
        eoi_token="<image|>",
        audio_token="<|audio|>",
        boa_token="<|audio>",
        eoa_token="<audio|>",
    )
    config = t.Gemma4Config(
        vision_config={
            "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8,
            "patch_size": 4, "pooling_kernel_size": 2,
        },
        text_config={
            **TEXT, "sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"] * 2, "hidden_size_per_layer_input": 8,
            "vocab_size_per_layer_input": 192,
        },
        image_token_id=tokens.image_token_id, boi_token_id=tokens.boi_token_id, eoi_token_id=tokens.eoi_token_id,
        audio_token_id=tokens.audio_token_id,
    )  # fmt: skip
    pictures = t.Gemma4ImageProcessorPil(patch_size=4, pooling_kernel_size=2, max_soft_tokens=70)
    return built(config, tokens), processor(
        config, pictures, tokens, "<|image|>", image_seq_length=4, feature_extractor=t.Gemma4AudioFeatureExtractor()
    )


def paligemma() -> Made:
    tokens = words.tokenizer([], image_token="<image>")
    pictures = t.SiglipImageProcessorPil(size=SIDE)
    pictures.image_seq_length = 16
    text = {**TEXT, "vocab_size": 192 + 1024 + 128}
    config = t.PaliGemmaConfig(
        vision_config=t.SiglipVisionConfig(**VISION, vision_use_head=False, projection_dim=32), text_config=t.GemmaConfig(**text),
        image_token_id=tokens.image_token_id, projection_dim=32, hidden_size=32,
    )  # fmt: skip
    made = processor(config, pictures, tokens, "<image>")
    return built(config, tokens), made
