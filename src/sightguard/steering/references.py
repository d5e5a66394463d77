"""The text-only reference of VLM-Guard: the language model's own states of the query, batched and remembered per prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sightguard.errors import UsageError
from sightguard.models.states import text_states
from sightguard.steering.memory import Memory
from sightguard.steering.method import Reading, Row, text_rows
from sightguard.types import Image, Sample

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM


def query_states(reading: Reading, rows: Sequence[Row], layers: tuple[int, ...]) -> Tensor:
    """Return the states of text-only queries, `layers x rows x hidden`, float32; each distinct query is read once."""
    memory = reading.memory
    wanted = list(dict.fromkeys(row for row in rows if (layers, row) not in memory.states))
    if wanted:
        memory.reads += len(wanted)
        states = text_states(reading.anatomy, wanted, layers, pad=reading.pad)
        for row, state in zip(wanted, states.unbind(1), strict=True):
            memory.states[layers, row] = state.clone()  # a view would hold the whole batch
    found = torch.stack([memory.states[layers, row] for row in rows], dim=1)
    memory.forget()
    return found


def caption_rows(reading: Reading, prompt: str) -> list[Row]:
    """Return text-only queries in which each picture is replaced by what the model itself reads in it.

    Raises:
        UsageError: the guard stands around a bare `model.generate`, where there are tokens but no pictures to caption.
    """
    if reading.samples is None or reading.vlm is None:
        raise UsageError(
            "the caption reference needs the conversation with its pictures: use steer(VLM(model, processor), guard) and samples, "
            "or choose reference='text' for a guard around a bare model.generate"
        )
    captions = read_pictures(reading.vlm, reading.samples, prompt, reading.memory)
    return text_rows(reading.vlm, [captioned(sample, captions) for sample in reading.samples])


def read_pictures(vlm: VLM, samples: Sequence[Sample], prompt: str, memory: Memory) -> dict[str, str]:
    """Return what the model, asked by `prompt`, says of each picture, by the picture's sha256."""
    pictures = {image.sha256: image for sample in samples for image in sample.images}
    wanted = [(digest, image) for digest, image in pictures.items() if (digest, prompt) not in memory.captions]
    if wanted:
        memory.reads += len(wanted)
        asked = [Sample.of(prompt, image, id=f"caption of {digest[:8]}") for digest, image in wanted]
        # the length is stated, so that a caption stays as long as it is where answers are cut for timing
        told = vlm.generate(asked, max_new_tokens=vlm.max_new_tokens)
        for (digest, _), response in zip(wanted, told, strict=True):
            memory.captions[digest, prompt] = response.text
    found = {digest: memory.captions[digest, prompt] for digest in pictures}
    memory.forget()
    return found


def captioned(sample: Sample, captions: dict[str, str]) -> Sample:
    """Return the conversation with each picture replaced by its caption, where the picture stood."""
    messages = tuple(
        replace(m, parts=tuple(captions[p.sha256] if isinstance(p, Image) else p for p in m.parts))
        for m in sample.messages
    )
    return replace(sample, messages=messages)
