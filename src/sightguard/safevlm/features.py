"""What the safety modules are given: the vision features of each picture, and the words of the question.

No decoder block runs for either: the vision tower is asked through the model's own `get_image_features`, and what enters the
model's own projector is taken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sightguard.data.pictures import decode
from sightguard.errors import DataError, LayoutNotFound, ModelError, PictureError
from sightguard.models.anatomy import unwrap
from sightguard.models.hooks import alone, hooked
from sightguard.safevlm.head import padded

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM
    from sightguard.types import Image, Sample


@dataclass(frozen=True, slots=True)
class Question:
    """The words that ask, as embeddings: `n x positions x hidden`, and True where a position belongs to the question."""

    text: Tensor
    asked: Tensor


@torch.no_grad()
def picture_features(vlm: VLM, samples: Sequence[Sample]) -> list[list[Tensor]]:
    """Return the vision features of the pictures of each sample, each `tiles x height x width x channels`.

    Raises:
        PictureError: a picture that cannot be decoded; the message names the sample.
        DataError: a sample without a picture.
    """
    for sample in samples:
        if not sample.images:
            raise DataError(f"sample {sample.id!r} holds no picture; a safety head looks at pictures")
    flat = [(sample, image) for sample in samples for image in sample.images]
    found = _features(vlm, [_decoded(sample, image) for sample, image in flat])
    rest = iter(found)
    return [[next(rest) for _ in sample.images] for sample in samples]


@torch.no_grad()
def question(vlm: VLM, samples: Sequence[Sample], first: int) -> Question:
    """Return what each sample asks in words: the text of the user's turns, behind the first token of a prompt.

    Args:
        vlm: the model; its embedding layer alone runs.
        samples: the requests.
        first: id of the first token of every prompt (see `first_token`).
    """
    tokenizer, device = vlm.processor.tokenizer, vlm.device
    with alone(vlm.anatomy):
        ids = [tokenizer(words_of(sample), add_special_tokens=False)["input_ids"] for sample in samples]
        rows = [vlm.anatomy.embeddings(torch.tensor([[first, *row]], device=device))[0] for row in ids]
    text, there = padded(rows)
    asked = there.clone()
    asked[:, 0] = torch.tensor(
        [not row for row in ids], device=device
    )  # where no word asks, the start of the prompt does
    return Question(text, asked)


def words_of(sample: Sample) -> str:
    """Return the words of the user's turns, one turn a line."""
    return "\n".join(message.text for message in sample.messages if message.role == "user")


def first_token(vlm: VLM, sample: Sample) -> int:
    """Return the id of the token with which a prompt of this model begins."""
    return int(vlm.encode([sample.without_images()]).rows[0][0])


def captured(seen: list[Tensor]) -> Any:
    """Return a hook that keeps what enters a projector."""

    def before(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        if given:
            seen.append(given[0].detach())

    return before


def per_picture(entered: Tensor, count: int, inputs: dict[str, Any], *, merge: int = 1) -> list[Tensor] | None:
    """Split what entered the projector by picture, as `tiles x height x width x channels`; None where that cannot be told.

    Args:
        entered: `tiles x tokens x channels`, or `tokens x channels` of all pictures one behind the other.
        count: number of pictures.
        inputs: what the image processor gave; `image_grid_thw` tells the grid of each picture.
        merge: side of the squares of pieces that stand together where a grid is told, as their projector merges them.
    """
    grids = inputs.get("image_grid_thw")
    if grids is not None and len(grids) == count:
        flat = entered.reshape(-1, entered.shape[-1])
        sizes = [int(t * h * w) for t, h, w in grids.tolist()]
        if sum(sizes) != len(flat):
            raise LayoutNotFound(
                f"the grids of {count} pictures hold {sum(sizes)} pieces, and {len(flat)} features entered the projector"
            )
        return [_raster(part, grid, merge) for part, grid in zip(flat.split(sizes), grids.tolist(), strict=True)]
    tiles = entered if entered.ndim == 3 else entered[None]
    if count == 1:
        return [_square(tiles)]
    return list(_square(tiles).split(1)) if len(tiles) == count else None


def _raster(pieces: Tensor, grid: Sequence[int], merge: int) -> Tensor:
    """Bring pieces that stand in squares of `merge x merge` into rows and columns: `tiles x height x width x channels`."""
    tiles, height, width = grid
    squares = pieces.reshape(tiles, height // merge, width // merge, merge, merge, -1)
    return squares.transpose(2, 3).reshape(tiles, height, width, -1)


def _square(tiles: Tensor) -> Tensor:
    side = math.isqrt(tiles.shape[1])
    if side * side != tiles.shape[1]:
        # no square, and no grid told: a strip, which convolutions read along its length
        return tiles[:, None]
    return tiles.reshape(len(tiles), side, side, -1)


def _features(vlm: VLM, pictures: list[Any]) -> list[Tensor]:
    inputs = _prepared(vlm, pictures)
    merge = int(getattr(vlm.processor.image_processor, "merge_size", None) or 1)
    found = per_picture(entering(vlm, inputs), len(pictures), inputs, merge=merge)
    if found is not None:
        return found
    # pictures in different numbers of tiles: which tile belongs to which is told only by asking one by one
    return [_features(vlm, [picture])[0] for picture in pictures]


def _prepared(vlm: VLM, pictures: list[Any]) -> dict[str, Any]:
    prepared = vlm.processor.image_processor(pictures, return_tensors="pt")
    return {name: vlm.place(value) for name, value in prepared.items()}


@torch.no_grad()
def entering(vlm: VLM, inputs: dict[str, Any]) -> Tensor:
    """Return what enters the model's projector for prepared pictures; the vision tower and the projector run, and nothing else."""
    model = unwrap(vlm.model)
    seen: list[Tensor] = []
    with alone(vlm.anatomy), hooked(vlm.anatomy.projector, before=captured(seen)):
        model.get_image_features(**inputs)
    if not seen:
        raise ModelError(
            f"get_image_features of {type(model).__name__} did not run its projector, so no vision features can be read"
        )
    return torch.cat(seen) if len(seen) > 1 else seen[0]


def _decoded(sample: Sample, image: Image) -> Any:
    try:
        return decode(image)
    except PictureError as error:
        raise PictureError(f"sample {sample.id!r}: {error}") from error
