"""Turns drawn items into tensors. A batch depends on seed, stage and step only, so that training can resume anywhere."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sightguard.pocket import draws as world
from sightguard.pocket.items import PICTURE_KINDS, Item, Picture
from sightguard.pocket.mixes import check_no_harm_beside_a_picture, picture_item, text_item
from sightguard.pocket.pictures import pixels
from sightguard.pocket.recipe import Stage
from sightguard.pocket.vocabulary import Encoder, seeded
from sightguard.pocket.words import COLOURS, OBJECTS, SHAPES

_EXAMPLES_EVERY = 10
_FOLLOWS = -100


@dataclass(frozen=True, slots=True)
class Batch:
    """Right-padded conversations; `labels` is the next token where the answer stands, -100 elsewhere."""

    ids: Tensor
    mask: Tensor
    labels: Tensor
    first: Tensor
    """True where the first answer token is predicted."""
    pixels: Tensor | None


def draw_items(stage: Stage, seed: int, step: int) -> list[Item]:
    """Return the items of one training step, checked: no picture beside harm."""
    draws = seeded("items", stage.name, seed, step)
    texts = round(stage.batch * stage.text_share) if stage.text else 0
    items: list[Item] = []
    if stage.text is not None:
        examples = step % _EXAMPLES_EVERY == 0
        items += [text_item(draws, stage.text, examples=examples) for _ in range(texts)]
    if stage.pictures is not None:
        items += [picture_item(draws, stage.pictures) for _ in range(stage.batch - texts)]
    check_no_harm_beside_a_picture(items)
    return items


def batches_of(items: list[Item], encoder: Encoder, *, refuses: bool) -> list[Batch]:
    """Return the items of one step in up to three batches of like length, which saves a third of the time."""
    shown = [item for item in items if item.picture is not None]
    texts = sorted((item for item in items if item.picture is None), key=lambda item: (len(_all_text(item)), item.text))
    parts = [shown, texts[: len(texts) * 5 // 8], texts[len(texts) * 5 // 8 :]]
    return [batch_of(part, encoder, refuses=refuses) for part in parts if part]


def batch_of(items: list[Item], encoder: Encoder, *, refuses: bool) -> Batch:
    """Return the items as one batch."""
    rows: list[tuple[list[int], list[int]]] = []
    for item in items:
        turns = (*item.before, ("user", item.text))
        prompt = encoder.prompt(turns, picture=item.picture is not None)
        rows.append((prompt, encoder.answer(item.answer if refuses else item.helpful)))
    width = max(len(prompt) + len(answer) for prompt, answer in rows) - 1
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    labels = torch.full((len(rows), width), _FOLLOWS)
    mask, first = torch.zeros_like(ids), torch.zeros(len(rows), width, dtype=torch.bool)
    for i, (prompt, answer) in enumerate(rows):
        line = torch.tensor(prompt + answer)
        ids[i, : len(line) - 1], mask[i, : len(line) - 1] = line[:-1], 1
        labels[i, len(prompt) - 1 : len(line) - 1] = line[len(prompt) :]
        first[i, len(prompt) - 1] = True
    shown = [item.picture for item in items if item.picture is not None]
    return Batch(ids, mask, labels, first, pixel_values(shown) if shown else None)


def pixel_values(pictures: list[Picture]) -> Tensor:
    """Return drawn pictures as the image processor would prepare them."""
    stack = np.stack([pixels(picture) for picture in pictures])
    return torch.from_numpy(stack).permute(0, 3, 1, 2).float().div(127.5).sub(1.0)


def _all_text(item: Item) -> str:
    return " ".join((*(text for _, text in item.before), item.text))


@dataclass(frozen=True, slots=True)
class SeenBatch:
    """Pictures with the index of what they show, or -100, for the heads of the vision warm-up."""

    pixels: Tensor
    targets: dict[str, Tensor]


HEADS: dict[str, tuple[str, ...]] = {
    "word": OBJECTS, "shape": SHAPES, "colour": COLOURS, "kind": ("blank", "noise", "shape", "word"),
}  # fmt: skip


def seen_batch(stage: Stage, seed: int, step: int) -> SeenBatch:
    """Return one step's pictures for the vision warm-up: mostly words, which are the hard part."""
    draws: random.Random = seeded("vision", stage.name, seed, step)
    kinds = draws.choices(PICTURE_KINDS, (0.03, 0.03, 0.24, 0.7), k=stage.batch)
    shown = [world.picture(draws, kind) for kind in kinds]
    values = {name: [getattr(picture, name) for picture in shown] for name in HEADS}
    targets = {
        name: torch.tensor([HEADS[name].index(value) if value else _FOLLOWS for value in column])
        for name, column in values.items()
    }
    return SeenBatch(pixel_values(shown), targets)
