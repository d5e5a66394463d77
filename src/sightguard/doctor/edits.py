"""Whether an edit through Sightguard's hooks does what it says, where it says, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sightguard.doctor.measure import difference, likeness, rounded_edit, same_prompt
from sightguard.doctor.probes import TEXT, side_by_side, states_of_transformers, written
from sightguard.environment import Check
from sightguard.errors import ModelError
from sightguard.models.hooks import editing
from sightguard.steering.steer import steer
from sightguard.types import Step

if TYPE_CHECKING:
    from sightguard.models.encode import Batch
    from sightguard.models.vlm import VLM

MOST = 8
"""Layers that are edited one by one; of a deeper model the first, the last and evenly spaced ones."""
SHARE = 0.5
"""Length of the push while a model writes, as a share of the states' own."""


@dataclass(frozen=True, slots=True)
class Push:
    """Adds a known vector to the last token of the prompt, and to each of the answer if it decodes."""

    layers: tuple[int, ...]
    vectors: Tensor
    """`rows x hidden`, or `1 x hidden` for all rows"""
    decodes: bool = False
    name: str = "push"

    def edit(self, hidden: Tensor, step: Step) -> Tensor:
        """Return the states, `batch x tokens x hidden`, with the push."""
        where = step.last if step.prefill else step.real
        pushed = hidden + self.vectors[:, None].to(hidden)
        return torch.where(where[..., None].to(hidden.device), pushed, hidden)


def check_edit(vlm: VLM) -> Check:
    """At one layer after the other, a push as long as the state is read back from transformers' own hidden states."""
    batch = vlm.encode(side_by_side(vlm))
    before = states_of_transformers(vlm, batch)
    layers = [vlm.anatomy.layers[i] for i in sampled(len(vlm.anatomy.layers))]
    errors = {layer: misplaced(vlm, batch, before, layer) for layer in layers}
    worst = max(errors, key=errors.__getitem__)
    tolerance = rounded_edit(vlm)
    failed = [layer for layer, error in errors.items() if error > tolerance]
    detail = f"layers {', '.join(map(str, failed or layers))}: " + (
        "the push is not found where it was put, or is found elsewhere"
        if failed
        else "found where it was put, only there"
    )
    return Check("edit", "fail" if failed else "pass", errors[worst], tolerance, detail)


def misplaced(vlm: VLM, batch: Batch, before: Sequence[Tensor], layer: int) -> float:
    """Return how far the states are from what a push at `layer` should make of them, relative to the push.

    0 where the last token moved by exactly the vector, no other token and no earlier layer did, and the next layer moved at all;
    about 1 where the push did not arrive.
    """
    vectors = lengths(before[layer]) * direction(vlm.anatomy.hidden_size)
    push = Push((layer,), vectors)
    with editing(vlm.model, vlm.anatomy, push.layers, lambda prompt: push):
        after = states_of_transformers(vlm, batch)
    length = vectors.double().norm(dim=1)
    moved = [_moved(then, now) for then, now in zip(before[: layer + 1], after, strict=False)]
    moved[layer][:, -1] -= vectors.double()
    if not all(bool(change.isfinite().all()) for change in moved):
        raise ModelError(
            f"states up to layer {layer} hold numbers that are not finite; load the model in another dtype"
        )
    real = batch.real.cpu()
    astray = max(float((change.norm(dim=-1) * real / length[:, None]).max()) for change in moved)
    carried = layer + 1 == len(before) or bool(_moved(before[layer + 1], after[layer + 1])[:, -1].any(dim=-1).all())
    return astray if carried else max(astray, 1.0)


def check_edit_with_cache(vlm: VLM) -> Check:
    """An edit of every token of the answer gives the same with a KV cache and without."""
    samples, layers = side_by_side(vlm), vlm.anatomy.layers
    layer = layers[len(layers) // 2]
    size = SHARE * lengths(states_of_transformers(vlm, vlm.encode(samples))[layer])
    push = Push((layer,), size * direction(vlm.anatomy.hidden_size), decodes=True)
    read = partial(written, vlm, samples, new=3)
    cached, whole = (read(cached=yes, around=steer(vlm, push).around) for yes in (True, False))
    steps = cached.comparable(whole)
    # without it while the answer is written, the second token must come out otherwise
    once = read(around=steer(vlm, Push(push.layers, push.vectors)).around)
    others = float(difference(once.logits[:, 1], cached.logits[:, 1]).min())
    measured = float(difference(cached.logits, whole.logits)[steps].max())
    return likeness("edit with cache", measured, same_prompt(vlm), others=others, detail=f"layer {layer}")


def check_edit_leaves_nothing(vlm: VLM) -> Check:
    """After an edit the model answers as before it."""
    samples = [TEXT[1]]
    before = written(vlm, samples, new=2).logits
    push = Push(vlm.anatomy.layers[:1], 10 * direction(vlm.anatomy.hidden_size))
    during = written(vlm, samples, new=2, around=steer(vlm, push).around).logits
    after = written(vlm, samples, new=2).logits
    measured = float(difference(after, before).max())
    others = float(difference(during, before).max())
    return likeness("edit leaves nothing", measured, same_prompt(vlm), others=others)


def sampled(depth: int) -> tuple[int, ...]:
    """Return which of `depth` layers to edit one by one."""
    if depth <= MOST:
        return tuple(range(depth))
    return tuple(round(i * (depth - 1) / (MOST - 1)) for i in range(MOST))


def lengths(states: Tensor) -> Tensor:
    """Return how long the last token's state is, `batch x tokens x hidden` to `batch x 1`, float32."""
    length: Tensor = states[:, -1].float().norm(dim=1, keepdim=True)
    return length.cpu()


def direction(hidden: int) -> Tensor:
    """Return a fixed direction of length 1, `1 x hidden`, float32."""
    drawn = torch.randn(1, hidden, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    unit: Tensor = drawn / drawn.norm()
    return unit.float()


def _moved(before: Tensor, after: Tensor) -> Tensor:
    return after.cpu().double() - before.cpu().double()
