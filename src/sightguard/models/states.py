"""Last-prompt-token states: the position whose logits give the first answer token, at every wanted layer, in batched passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sightguard.errors import DataError
from sightguard.models.anatomy import Anatomy
from sightguard.models.encode import pad_rows
from sightguard.models.hooks import early_states

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM
    from sightguard.types import Sample


@torch.no_grad()
def text_states(
    anatomy: Anatomy, rows: Sequence[Sequence[int]], layers: Sequence[int], *, pad: int, batch: int = 64
) -> Tensor:
    """Return the last-token states of text-only prompts given as token ids: `layers x rows x hidden`, float32.

    The decoder runs alone and no deeper than the deepest wanted layer; where the model's own masks tell text from pictures
    (`token_type_ids`), the whole model reads, as it does when it is asked. Rows of like length share a pass.
    """
    if any(not row for row in rows):
        raise DataError(
            f"a text-only prompt holds no tokens (row {next(i for i, row in enumerate(rows) if not row)}), so it has no state"
        )
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    states: dict[int, Tensor] = {}
    for start in range(0, len(order), batch):
        indices = order[start : start + batch]
        inputs = pad_rows([rows[i] for i in indices], pad=pad, device=anatomy.device)
        # written out, since a decoder called by itself would count the padding
        positions = (inputs["attention_mask"].cumsum(1) - 1).clamp(min=0)
        told = {"token_type_ids": torch.zeros_like(inputs["input_ids"])} if anatomy.token_types else {}
        reader = anatomy.base if anatomy.token_types else anatomy.decoder
        seen = early_states(anatomy, reader, layers, {**inputs, **told, "position_ids": positions})
        states.update(zip(indices, last_states(seen, layers).unbind(1), strict=True))
    return torch.stack([states[i] for i in range(len(rows))], dim=1)


@torch.no_grad()
def prompt_states(vlm: VLM, samples: Sequence[Sample], layers: Sequence[int], *, batch: int | None = None) -> Tensor:
    """Return the last-token states of whole prompts, pictures included: `layers x samples x hidden`, float32."""
    size = batch or vlm.batch
    states: dict[int, Tensor] = {}
    for indices in vlm.batches(samples, size):
        inputs = vlm.encode([samples[i] for i in indices]).inputs
        seen = early_states(vlm.anatomy, vlm.anatomy.base, layers, inputs)
        states.update(zip(indices, last_states(seen, layers).unbind(1), strict=True))
    return torch.stack([states[i] for i in range(len(samples))], dim=1)


def last_states(seen: Mapping[int, Tensor], layers: Sequence[int]) -> Tensor:
    """Return the last column of recorded states, `layers x rows x hidden`, float32, on the device of the first of `layers`.

    Prompts are padded on the left, so that is the last prompt token of every row.
    """
    device = seen[layers[0]].device
    return torch.stack([seen[layer][:, -1].to(device, torch.float32) for layer in layers])
