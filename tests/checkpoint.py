"""A LLaVA checkpoint folder as the hub has them: a byte-level BPE tokenizer, LLaVA-1.5's chat template, random weights."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from sightguard.data.anchor_sets import anchors, harmless_prompts

VICUNA = (
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': ' }}{% endif %}"
    "{# Render all images first #}{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}"
    "{% endfor %}{# Render all text next #}{% if message['role'] != 'assistant' %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' ' }}{% endfor %}"
    "{% else %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{% generation %}{{ content['text'] + ' ' }}{% endgeneration %}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
"""As in llava-hf/llava-1.5-7b-hf."""


def tokenizer(vocabulary: int = 2000) -> PreTrainedTokenizerFast:
    """A byte-level BPE trained on English: every text has tokens, and no character is unknown."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<pad>", "<image>"]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [sample.text for pair in anchors() for sample in pair] + [sample.text for sample in harmless_prompts()]
    inner.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=["<image>"],
        padding_side="left",
    )


def processor(template: str = VICUNA, *, side: int = 56, patch: int = 14) -> LlavaProcessor:
    """Pictures of that many pixels a side, and the tokenizer."""
    return LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side}),
        tokenizer(),
        patch_size=patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    )


def model(
    words: PreTrainedTokenizerFast, *, side: int = 56, patch: int = 14, seed: int = 0
) -> LlavaForConditionalGeneration:
    """A random LLaVA for that tokenizer."""
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=side,
        patch_size=patch,
    )
    language = LlamaConfig(
        vocab_size=len(words), hidden_size=64, intermediate_size=128, num_hidden_layers=6, num_attention_heads=4,
        max_position_embeddings=1024, initializer_range=0.2,
    )  # fmt: skip
    torch.manual_seed(seed)
    config = LlavaConfig(
        vision_config=vision, text_config=language, image_token_id=words.convert_tokens_to_ids("<image>")
    )
    made = LlavaForConditionalGeneration(config).eval()
    made.generation_config.pad_token_id = words.pad_token_id
    made.generation_config.eos_token_id = words.eos_token_id
    return made


def build(folder: Path) -> Path:
    """Write the checkpoint and return its folder."""
    speaks = processor()
    model(speaks.tokenizer).save_pretrained(folder)
    speaks.save_pretrained(folder)
    return folder
