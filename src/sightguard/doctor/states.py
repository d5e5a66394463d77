"""Whether the states that Sightguard reads are those that the model has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from sightguard.doctor.measure import apart, difference, likeness, same_prompt
from sightguard.doctor.probes import TEXT, pictured, side_by_side, states_of_transformers
from sightguard.environment import Check
from sightguard.errors import ModelError
from sightguard.models.hooks import recording
from sightguard.models.states import prompt_states, text_states

if TYPE_CHECKING:
    from torch import Tensor

    from sightguard.models.vlm import VLM


def check_states(vlm: VLM) -> Check:
    """Layer for layer, our hooks and transformers read the same numbers in one pass."""
    layers = vlm.anatomy.layers
    batch = vlm.encode(side_by_side(vlm))
    with recording(vlm.anatomy, layers) as seen:
        theirs = states_of_transformers(vlm, batch)
    missing = [layer for layer in layers if layer not in seen]
    if missing:
        raise ModelError(f"our hooks on the decoder blocks {missing} were never called; the model runs other ones")
    real = batch.real.cpu()
    errors = {layer: float(difference(seen[layer].cpu()[real], theirs[layer].cpu()[real]).max()) for layer in layers}
    wrong = [layer for layer in layers if errors[layer]]
    # neighbours must differ, or a layer off by one would not show
    others = apart(torch.stack([theirs[layer][:, -1].flatten().float().cpu() for layer in layers]))
    detail = f"layers {', '.join(map(str, wrong))} are other ones in transformers" if wrong else ""
    return likeness("states", max(errors.values()), 0.0, others=others, detail=detail)


def check_states_in_a_batch(vlm: VLM) -> Check:
    """The states that guards are fitted on are the same for a prompt alone and in a left-padded batch."""
    layers, samples = vlm.anatomy.layers, [*TEXT, *pictured()]
    together = prompt_states(vlm, samples, layers, batch=len(samples))
    alone = torch.cat([prompt_states(vlm, [sample], layers) for sample in samples], dim=1)
    return _alike("states in a batch", vlm, layers, together, alone)


def check_text_alone(vlm: VLM) -> Check:
    """The language model called by itself reads text as the whole model does; guards take its states as reference."""
    layers = vlm.anatomy.layers
    rows = [vlm.encode([sample]).rows[0] for sample in TEXT]
    inside = text_states(vlm.anatomy, rows, layers, pad=vlm.pad)
    whole = torch.cat([prompt_states(vlm, [sample], layers) for sample in TEXT], dim=1)
    return _alike("text alone", vlm, layers, inside, whole)


def _alike(name: str, vlm: VLM, layers: Sequence[int], found: Tensor, expected: Tensor) -> Check:
    """Compare last-token states, `layers x prompts x hidden`."""
    errors = difference(found, expected).amax(1)
    worst = int(errors.argmax())
    others = apart(expected.transpose(0, 1))
    return likeness(
        name, float(errors[worst]), same_prompt(vlm), others=others, detail=f"most at layer {layers[worst]}"
    )
