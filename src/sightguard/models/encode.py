"""Samples to model inputs: padded on the left, with the masks *real* and *image* beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sightguard.data.pictures import decode
from sightguard.errors import DataError, PictureError
from sightguard.models.chat import render
from sightguard.types import Sample

if TYPE_CHECKING:
    import PIL.Image


@dataclass(frozen=True, slots=True)
class Batch:
    """Encoded prompts. `inputs` goes to the model as it is; masks are `batch x tokens`, bool."""

    samples: tuple[Sample, ...]
    inputs: dict[str, Any]
    real: Tensor
    image: Tensor

    @property
    def rows(self) -> list[tuple[int, ...]]:
        """The token ids of each prompt, padding left out."""
        ids = self.inputs["input_ids"]
        return [tuple(row[keep].tolist()) for row, keep in zip(ids, self.real, strict=True)]

    @property
    def length(self) -> int:
        return int(self.real.shape[1])


def encode(processor: Any, samples: Sequence[Sample], *, image_token_id: int, limit: int | None = None) -> Batch:
    """Encode `samples` into one left-padded batch; samples with and without pictures may be mixed.

    Args:
        processor: a transformers processor.
        samples: at least one.
        image_token_id: which token stands for a piece of a picture.
        limit: the longest prompt that the model takes, in tokens.

    Raises:
        DataError: no samples, a prompt longer than `limit`, or a text that holds the model's sign for a picture.
        PictureError: a picture that cannot be decoded; the message names the sample.
    """
    if not samples:
        raise DataError("expected at least one sample to encode; got none")
    tokenizer = processor.tokenizer
    _check_placeholders(samples, tokenizer.convert_ids_to_tokens(image_token_id))
    texts = render(processor, samples)
    options = {
        "padding": True,
        "padding_side": "left",
        "return_tensors": "pt",
        "add_special_tokens": not _opens_itself(tokenizer, texts[0]),
    }
    pictures = [picture for sample in samples for picture in _pictures(sample)]
    encoded = processor(text=texts, images=pictures, **options) if pictures else tokenizer(texts, **options)
    inputs = {name: value for name, value in encoded.items() if name != "token_type_ids"}
    batch = Batch(tuple(samples), inputs, inputs["attention_mask"].bool(), inputs["input_ids"] == image_token_id)
    _check_length(batch, limit)
    return batch


def pad_rows(rows: Sequence[Sequence[int]], *, pad: int, device: torch.device) -> dict[str, Tensor]:
    """Pad rows of token ids on the left into `input_ids` and `attention_mask`, each `rows x tokens`."""
    width = max(len(row) for row in rows)
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return {"input_ids": ids, "attention_mask": mask}


def _check_placeholders(samples: Sequence[Sample], placeholder: str) -> None:
    for sample in samples:
        if placeholder and placeholder in sample.text:
            raise DataError(
                f"the text of sample {sample.id!r} holds {placeholder!r}, which this model reads as a piece of a picture. "
                "Take it out of the text; pictures stand in `parts`, as Image."
            )


def _opens_itself(tokenizer: Any, text: str) -> bool:
    """True where the template already wrote the token that begins a text, so that the tokenizer must not write it again."""
    return bool(tokenizer.bos_token) and text.startswith(tokenizer.bos_token)


def _pictures(sample: Sample) -> list[PIL.Image.Image]:
    try:
        return [decode(image) for image in sample.images]
    except PictureError as error:
        raise PictureError(f"sample {sample.id!r}: {error}") from error


def _check_length(batch: Batch, limit: int | None) -> None:
    if limit is None or batch.length <= limit:
        return
    lengths = batch.real.sum(1).tolist()
    longest = max(range(len(lengths)), key=lengths.__getitem__)
    raise DataError(
        f"the prompt of sample {batch.samples[longest].id!r} has {lengths[longest]} tokens; this model takes at most {limit}. Shorten it."
    )
