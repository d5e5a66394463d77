"""How many tokens a prompt has, counted before it waits for a model: its words by the tokenizer, its pictures as the processor does."""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sightguard.data.pictures import upright_size
from sightguard.errors import DataError
from sightguard.models.chat import render
from sightguard.models.text import opens_itself, text_rows

if TYPE_CHECKING:
    from sightguard.types import Sample

Sizes = tuple[tuple[int, int], ...]
KEPT = 1024
"""Sizes of pictures whose tokens are remembered."""


@dataclass
class Lengths:
    """Counts tokens, beside a model that runs: its processor is a copy.

    What pictures add depends on their sizes alone, so each size is given to the processor once, as a blank picture.

    Args:
        processor: that prompts go through.
    """

    processor: Any
    _added: OrderedDict[Sizes, int] = field(default_factory=OrderedDict, init=False, repr=False)
    _alone: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        self.processor = copy.deepcopy(self.processor)

    def of(self, sample: Sample) -> int:
        """Return the tokens of a prompt.

        Raises:
            DataError: no prompt can be made of it, or its pictures have sizes that the processor does not take.
            PictureError: what it holds for a picture is none.
        """
        (text,) = render(self.processor, [sample])
        sizes = tuple(upright_size(image) for image in sample.images)
        with self._alone:
            words = self._words(text)
            if sizes not in self._added:
                self._added[sizes] = self._whole(text, sizes) - words
                while len(self._added) > KEPT:
                    self._added.popitem(last=False)
            return words + self._added[sizes]

    def _words(self, text: str) -> int:
        tokenizer = self.processor.tokenizer
        (row,) = tokenizer([text], add_special_tokens=not opens_itself(tokenizer, text))["input_ids"]
        return len(row)

    def _whole(self, text: str, sizes: Sizes) -> int:
        if not sizes:
            return len(text_rows(self.processor, [text])[0])
        import PIL.Image

        blank = [PIL.Image.new("RGB", size, "white") for size in sizes]
        special = not opens_itself(self.processor.tokenizer, text)
        options = {"padding": True, "return_tensors": "pt", "add_special_tokens": special}
        try:
            encoded = self.processor(text=[text], images=[blank], **options)
        except ValueError as error:  # of sides that differ too much, say
            shown = ", ".join(f"{width} x {height}" for width, height in sizes)
            raise DataError(f"this model does not take pictures of {shown}: {error}") from None
        return int(encoded["input_ids"].shape[1])
