"""Samples to model inputs: padded on the left, with the masks *real* and *image* beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sightguard.data.pictures import decode
from sightguard.errors import DataError, PictureError, PromptTooLong
from sightguard.models.chat import render
from sightguard.models.text import opens_itself, text_rows
from sightguard.types import Sample

if TYPE_CHECKING:
    import PIL.Image


NOT_FOR_ANSWERING = ("token_type_ids", "labels")
"""What some processors add that the models do not take, or take for training."""


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


def encode(
    processor: Any,
    samples: Sequence[Sample],
    *,
    image_token_id: int,
    token_types: bool = False,
    limit: int | None = None,
) -> Batch:
    """Encode `samples` into one left-padded batch; samples with and without pictures may be mixed.

    Args:
        processor: a transformers processor.
        samples: at least one.
        image_token_id: which token stands for a piece of a picture.
        token_types: whether the model reads `token_type_ids`, as those do in which the pieces of a picture see each other.
        limit: the longest prompt that the model takes, in tokens.

    Raises:
        DataError: no samples, or a text that holds the model's sign for a picture.
        PromptTooLong: a prompt longer than `limit`.
        PictureError: a picture that cannot be decoded; the message names the sample.
    """
    if not samples:
        raise DataError("expected at least one sample to encode; got none")
    tokenizer = processor.tokenizer
    _check_placeholders(samples, tokenizer.convert_ids_to_tokens(image_token_id))
    texts = render(processor, samples)
    special = not opens_itself(tokenizer, texts[0])
    pictures = [_pictures(sample) for sample in samples]  # by sample: some processors treat one picture unlike several
    if any(pictures):
        options = {"padding": True, "padding_side": "left", "return_tensors": "pt", "add_special_tokens": special}
        encoded = processor(text=texts, images=pictures, **options)
    else:
        encoded = pad_rows(text_rows(processor, texts), pad=pad_token(tokenizer), device=torch.device("cpu"))
    inputs = {name: value for name, value in encoded.items() if name not in NOT_FOR_ANSWERING}
    if token_types:
        inputs["token_type_ids"] = encoded.get("token_type_ids", torch.zeros_like(inputs["input_ids"]))
    batch = Batch(tuple(samples), inputs, inputs["attention_mask"].bool(), inputs["input_ids"] == image_token_id)
    _check_length(batch, limit)
    return batch


def pad_token(tokenizer: Any) -> int:
    """Return a token to pad with; it is masked, so any will do where the tokenizer has none."""
    return int(tokenizer.pad_token_id) if tokenizer.pad_token_id is not None else 0


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
                "Take it out of the text; pictures stand in `parts`, as Image.",
                sample=sample.id,
            )


def _pictures(sample: Sample) -> list[PIL.Image.Image]:
    try:
        return [decode(image) for image in sample.images]
    except PictureError as error:
        raise PictureError(f"sample {sample.id!r}: {error}", sample=sample.id) from error


def _check_length(batch: Batch, limit: int | None) -> None:
    if limit is None or batch.length <= limit:
        return
    lengths = batch.real.sum(1).tolist()
    longest = max(range(len(lengths)), key=lengths.__getitem__)
    raise PromptTooLong(
        f"the prompt of sample {batch.samples[longest].id!r} has {lengths[longest]} tokens; this model takes at most {limit}. Shorten it.",
        sample=batch.samples[longest].id,
    )
