"""Random LLaVAs of a real shape: their answers mean nothing, their cost is that of a model of that size."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from sightguard.models.vlm import VLM
from sightguard.pocket.locate import folder

SIDE, PATCH = 336, 14
"""576 image tokens."""
SHAPES: dict[str, dict[str, Any]] = {
    "0.5B": {"hidden": 896, "layers": 24, "feed_forward": 4864, "dtype": torch.float32},
    "width 4096": {"hidden": 4096, "layers": 1, "feed_forward": 4096, "dtype": torch.float32},
    "25M": {"hidden": 512, "layers": 8, "feed_forward": 1408, "dtype": torch.float32},
    "0.3B": {"hidden": 1024, "layers": 16, "feed_forward": 2816, "dtype": torch.float32},
    "7B": {"hidden": 4096, "layers": 32, "feed_forward": 11008, "dtype": torch.bfloat16},
    "13B": {"hidden": 5120, "layers": 40, "feed_forward": 13824, "dtype": torch.bfloat16},
}
VOCABULARY = 32_000
SMALL = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4}
VIT_L = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
"""CLIP ViT-L/14, as LLaVA-1.5 has it."""


def random_llava(shape: str, *, vision: dict[str, int] = SMALL, feature_layer: int = -1) -> VLM:
    """Return a random LLaVA on the accelerator, or the CPU.

    Args:
        shape: of the language model.
        vision: sizes of the vision tower; a small one does not flatter the language model's share.
        feature_layer: of the vision tower, as the model reads it.
    """
    given = SHAPES[shape]
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder("pocket"))
    seen = CLIPVisionConfig(**vision, image_size=SIDE, patch_size=PATCH)
    language = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=given["hidden"],
        intermediate_size=given["feed_forward"],
        num_hidden_layers=given["layers"],
        num_attention_heads=given["hidden"] // 128,
        max_position_embeddings=4096,
    )
    image_token = tokenizer.convert_tokens_to_ids("<image>")
    config = LlavaConfig(
        vision_config=seen, text_config=language, image_token_id=image_token, vision_feature_layer=feature_layer
    )
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    torch.manual_seed(0)
    with torch.device(device):
        net = LlavaForConditionalGeneration(config).to(given["dtype"]).eval()
    net.generation_config.pad_token_id = tokenizer.pad_token_id
    net.generation_config.eos_token_id = None
    pictures = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    processor = LlavaProcessor(
        pictures,
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=LlavaProcessor.from_pretrained(folder("pocket")).chat_template,
    )
    return VLM(net, processor)
