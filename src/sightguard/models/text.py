"""Prompts without pictures as token ids: the tokens that they would have in a batch beside pictures.

Some processors write more than the chat template does (PaliGemma a line break, Llama 3.2 Vision its first token), and some take no text
without a picture at all. The text-only query of a guard must have what the model is used to, so it goes through the processor too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import PIL.Image

from sightguard.models.chat import image_mark

_PLAIN: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
"""By processor: whether it leaves text as its tokenizer has it."""


def text_rows(processor: Any, texts: Sequence[str]) -> list[list[int]]:
    """Return the token ids of rendered prompts without pictures.

    Args:
        processor: a transformers processor.
        texts: as the chat template renders them; at least one.
    """
    special = not opens_itself(processor.tokenizer, texts[0])
    if processor not in _PLAIN:
        _PLAIN[processor] = _processed(processor, texts[:1], special) == _tokenized(processor, texts[:1], special)
    return (_tokenized if _PLAIN[processor] else _processed)(processor, texts, special)


def opens_itself(tokenizer: Any, text: str) -> bool:
    """True where the template already wrote the token that begins a text, so that the tokenizer must not write it again."""
    return bool(tokenizer.bos_token) and text.startswith(tokenizer.bos_token)


def _tokenized(processor: Any, texts: Sequence[str], special: bool) -> list[list[int]]:
    rows: list[list[int]] = processor.tokenizer(list(texts), add_special_tokens=special)["input_ids"]
    return rows


def _processed(processor: Any, texts: Sequence[str], special: bool) -> list[list[int]]:
    options = {"padding": True, "padding_side": "left", "return_tensors": "pt", "add_special_tokens": special}
    try:
        encoded = processor(text=list(texts), **options)
    except (
        ValueError,
        TypeError,
        AttributeError,
    ):  # it takes no text without a picture: give it one more prompt that has one
        beside = PIL.Image.new("RGB", (64, 64), "white")
        pictures = [*([] for _ in texts), [beside]]
        encoded = processor(text=[*texts, image_mark(processor)], images=pictures, **options)
    pairs = zip(encoded["input_ids"], encoded["attention_mask"].bool(), strict=True)
    return [row[real].tolist() for row, real in list(pairs)[: len(texts)]]
