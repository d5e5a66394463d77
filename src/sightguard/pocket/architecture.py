"""The pocket model and its processor as ordinary transformers objects, untrained."""

from __future__ import annotations

import torch
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from sightguard.pocket.recipe import Sizes
from sightguard.pocket.vocabulary import SPECIAL, vocabulary

CHAT_TEMPLATE = (
    "{{ '<bos>' }}{% for message in messages %}{{ '<' + message['role'] + '>' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<image>' }}{% elif part['type'] == 'text' %}{{ part['text'] + ' ' }}{% endif %}"
    "{% endfor %}{% endif %}{% if message['role'] == 'assistant' %}{{ '<eos>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
)


def new_model(sizes: Sizes, seed: int) -> LlavaForConditionalGeneration:
    """Return a model with random weights, float32, eager attention."""
    ids = vocabulary()
    text = LlamaConfig(
        vocab_size=len(ids), hidden_size=sizes.hidden, intermediate_size=sizes.feed_forward,
        num_hidden_layers=sizes.layers, num_attention_heads=sizes.heads, num_key_value_heads=sizes.heads,
        max_position_embeddings=512, tie_word_embeddings=True, pad_token_id=ids["<pad>"],
        bos_token_id=ids["<bos>"], eos_token_id=ids["<eos>"],
    )  # fmt: skip
    vision = CLIPVisionConfig(
        hidden_size=sizes.vision_hidden, intermediate_size=sizes.vision_feed_forward, projection_dim=sizes.vision_hidden,
        num_hidden_layers=sizes.vision_layers, num_attention_heads=4, image_size=sizes.side, patch_size=sizes.patch,
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_id=ids["<image>"], vision_feature_layer=-1,
        vision_feature_select_strategy="default", image_seq_length=sizes.image_tokens, tie_word_embeddings=True,
    )  # fmt: skip
    config._attn_implementation = "eager"
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration(config).float()
    model.generation_config.pad_token_id = ids["<pad>"]
    model.generation_config.bos_token_id = ids["<bos>"]
    model.generation_config.eos_token_id = ids["<eos>"]
    return model


def new_processor(sizes: Sizes) -> LlavaProcessor:
    """Return the processor: word-level tokenizer, chat template, 48 x 48 picture preparation without torchvision."""
    backend = Tokenizer(WordLevel(vocabulary(), unk_token="<unk>"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+|[^\w\s]+"), behavior="removed", invert=True)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>", bos_token="<bos>", eos_token="<eos>",
        additional_special_tokens=list(SPECIAL[4:]), padding_side="left", model_max_length=512,
        clean_up_tokenization_spaces=False,
    )  # fmt: skip
    pictures = CLIPImageProcessorPil(
        do_resize=True, size={"height": sizes.side, "width": sizes.side}, resample=2, do_center_crop=False,
        do_rescale=True, do_normalize=True, image_mean=[0.5] * 3, image_std=[0.5] * 3, do_convert_rgb=True,
    )  # fmt: skip
    return LlavaProcessor(
        image_processor=pictures, tokenizer=tokenizer, patch_size=sizes.patch, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, chat_template=CHAT_TEMPLATE, image_token="<image>",
    )  # fmt: skip
