"""What the makers of tiny models share: sizes, random weights, processors made offline."""

from __future__ import annotations

import inspect
from typing import Any

import torch
import transformers as t

from sightguard.models.processors import processor_class
from tests.families import words

Made = tuple[t.PreTrainedModel, Any]

TEXT = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 8, "max_position_embeddings": 2048, "initializer_range": 0.2, "vocab_size": 192,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 4,
}
SIDE = {"height": 16, "width": 16}


def built(config: t.PreTrainedConfig, tokenizer: Any, seed: int = 0) -> t.PreTrainedModel:
    """Return a random model whose weights are spread wide enough that different prompts get different answers."""
    torch.manual_seed(seed)
    model = t.AutoModelForImageTextToText.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("attn_gate") or name.endswith("mlp_gate"):
                parameter.fill_(0.5)  # closed where nothing was trained, and no picture would be seen
            if name.endswith(("A_log", "dt_bias")):
                parameter.fill_(-2.0)  # a state that lasts, so that the beginning of a prompt matters at its end
            if name.endswith("mm_input_projection_weight"):
                parameter.normal_(std=0.2)  # zero where nothing was trained
    settings = model.generation_config
    settings.eos_token_id, settings.pad_token_id, settings.bos_token_id = 2, 0, 1
    # an answer of a random model may hold a placeholder, and a picture is then missed where it is read again
    settings.suppress_tokens = [i for i, token in tokenizer.added_tokens_decoder.items() if i > 3]
    return model


def processor(config: t.PreTrainedConfig, pictures: Any, tokenizer: Any, mark: str, **options: Any) -> Any:
    made = processor_class(config)
    assert made is not None
    if "video_processor" in inspect.signature(made).parameters:
        options = {"video_processor": None, **options}
    return made(image_processor=pictures, tokenizer=tokenizer, chat_template=words.template(mark), **options)
