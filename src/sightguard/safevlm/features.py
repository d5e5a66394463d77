"""What the safety modules are given: the vision features of each picture, and the words of the question.

No decoder block runs for either: the vision tower is asked through the model's own `get_image_features`, and what enters the
model's own projector is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sightguard.data.pictures import decode
from sightguard.errors import DataError, ModelError, PictureError
from sightguard.models.anatomy import unwrap
from sightguard.models.hooks import alone, hooked, run_until
from sightguard.safevlm.grids import as_read, per_picture
from sightguard.safevlm.head import padded
from sightguard.safevlm.lean import Lean
from sightguard.safevlm.readings import words_of

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM
    from sightguard.types import Image, Sample


@dataclass(frozen=True, slots=True)
class Question:
    """The words that ask, as embeddings: `n x positions x hidden`, and True where a position belongs to the question.

    Where requests are read in several ways, `asked` is `n x readings x positions`, and the words of the readings stand one behind another.
    """

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
    return question_of(vlm, [words_of(sample) for sample in samples], first)


@torch.no_grad()
def question_of(vlm: VLM, texts: Sequence[str], first: int) -> Question:
    """Return the same of plain texts."""
    rows = _embedded(vlm, texts, first)
    text, there = padded(rows)
    asked = there.clone()
    asked[:, 0] = torch.tensor([len(row) == 1 for row in rows], device=vlm.device)
    return Question(text, asked)


@torch.no_grad()
def questions_of(vlm: VLM, texts: Sequence[Sequence[str]], first: int) -> Question:
    """Return the same of requests that are read in several ways each, as one row a request.

    Each reading is tokenized by itself, and has the first token of a prompt before it. A request with fewer readings than another has
    readings at the end in which nothing asks.
    """
    if all(len(of) == 1 for of in texts):
        return question_of(vlm, [of[0] for of in texts], first)
    rows = [_embedded(vlm, of, first) for of in texts]
    text, _ = padded([torch.cat(row) for row in rows])
    asked = torch.zeros(len(texts), max(map(len, rows)), text.shape[1], dtype=torch.bool, device=text.device)
    for i, row in enumerate(rows):
        at = 0
        for j, words in enumerate(row):
            asked[i, j, at + min(1, len(words) - 1) : at + len(words)] = True
            at += len(words)
    return Question(text, asked)


def _embedded(vlm: VLM, texts: Sequence[str], first: int) -> list[Tensor]:
    """Return each text as `positions x hidden`, behind the first token of a prompt; where no word asks, that token does."""
    tokenizer = vlm.processor.tokenizer
    with alone(vlm.anatomy):
        ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        return [vlm.anatomy.embeddings(torch.tensor([[first, *row]], device=vlm.device))[0] for row in ids]


def first_token(vlm: VLM, sample: Sample) -> int:
    """Return the id of the token with which a prompt of this model begins."""
    return int(vlm.encode([sample.without_images()]).rows[0][0])


def captured(seen: list[Tensor]) -> Any:
    """Return a hook that keeps what enters a projector."""

    def before(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        if given and given[0].is_floating_point() and given[0].ndim > 1:
            seen.append(given[0].detach())

    return before


def _features(vlm: VLM, pictures: list[Any]) -> list[Tensor]:
    found = read_features(vlm, prepared(vlm, pictures), len(pictures))
    if found is not None:
        return found
    # pictures in different numbers of tiles: which tile belongs to which is told only by asking one by one
    return [_features(vlm, [picture])[0] for picture in pictures]


def prepared(vlm: VLM, pictures: list[Any]) -> dict[str, Any]:
    """Return what the model's image processor makes of decoded pictures, on the CPU."""
    return dict(vlm.processor.image_processor(pictures, return_tensors="pt"))


def read_features(vlm: VLM, inputs: Mapping[str, Any], count: int, lean: Lean | None = None) -> list[Tensor] | None:
    """Return the vision features of `count` prepared pictures, each `tiles x height x width x channels`.

    None where it cannot be told which features belong to which picture.
    """
    placed = {name: vlm.place(value) for name, value in inputs.items()}
    merge = int(getattr(vlm.processor.image_processor, "merge_size", None) or 1)
    return per_picture(entering(vlm, placed, lean), count, placed, merge=merge)


@torch.no_grad()
def entering(vlm: VLM, inputs: Mapping[str, Any], lean: Lean | None = None) -> Tensor:
    """Return what enters the model's projector for prepared pictures; the vision tower runs, and no decoder block does.

    Args:
        vlm: the model.
        inputs: what its image processor gave.
        lean: what may be left out (see `sightguard.safevlm.lean`); nothing by default.

    Raises:
        ModelError: nothing entered.
    """
    anatomy, leave_out = vlm.anatomy, lean or Lean()
    placed = {name: vlm.place(value) for name, value in inputs.items()}
    parts: tuple[Any, ...] = (unwrap(vlm.model), anatomy.base)
    whole = [part for part in parts if hasattr(part, "get_image_features")]
    seen: list[Tensor] = []
    with alone(anatomy), hooked(anatomy.projector, before=captured(seen)), leave_out.applied():
        if not whole:  # cross-attention: the pictures are read when a prompt is
            ids = torch.full((1, 1), anatomy.image_token_id, device=vlm.device)
            run_until(anatomy.projector, partial(anatomy.base, input_ids=ids, **placed))
        elif leave_out.once:
            run_until(anatomy.projector, partial(whole[0].get_image_features, **placed))
        else:
            whole[0].get_image_features(**placed)
    if not seen:
        raise ModelError(
            f"{type(unwrap(vlm.model)).__name__} did not run its projector on a picture, so no vision features can be read"
        )
    return as_read(torch.cat(seen) if len(seen) > 1 else seen[0], placed, anatomy.vision)


def _decoded(sample: Sample, image: Image) -> Any:
    try:
        return decode(image)
    except PictureError as error:
        raise PictureError(f"sample {sample.id!r}: {error}") from error
