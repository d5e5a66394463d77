"""Captures the states that directions are fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from sightguard.errors import DataError
from sightguard.models.states import prompt_states, text_states
from sightguard.steering.method import text_rows

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM
    from sightguard.types import Sample


def capture(vlm: VLM, samples: Sequence[Sample], *, layers: Sequence[int] | None = None, images: bool = True) -> Tensor:
    """Return the last-prompt-token states of `samples`, `layers x samples x hidden`, float32.

    Args:
        vlm: the model.
        samples: conversations that end with the user.
        layers: decoder blocks, 0-based; default all.
        images: False reads the text alone, through the language model alone.

    Raises:
        DataError: no samples, or one without text while `images` is False.
    """
    if not samples:
        raise DataError("expected at least one sample to read; got none")
    wanted = vlm.anatomy.check_layers(vlm.anatomy.layers if layers is None else layers)
    if images:
        return prompt_states(vlm, samples, wanted)
    rows = text_rows(vlm, samples)
    for sample, row in zip(samples, rows, strict=True):
        if not row:
            raise DataError(f"sample {sample.id!r} has no text, so it has no text-only state")
    return text_states(vlm.anatomy, rows, wanted, pad=vlm.pad)
