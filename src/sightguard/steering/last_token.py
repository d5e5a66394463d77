"""Tries many edits of the last prompt token at the price of one token each.

What stands before the last token does not see the edit, so the prompt is read once into a cache, and each candidate runs only the
last token on it. Prompts go batch by batch, so that one batch's cache is held at a time. A model that does not go on from a shortened
cache as it reads in one pass (a sliding window) reads the whole prompt for each candidate instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sightguard.models.anatomy import unwrap
from sightguard.models.hooks import alone, replacing
from sightguard.steering.memory import Memory
from sightguard.steering.method import Binds, Reading, bound, text_rows
from sightguard.steering.steer import Steered
from sightguard.types import Method, Sample, Step

if TYPE_CHECKING:
    from sightguard.models.encode import Batch
    from sightguard.models.vlm import VLM

TOLERANCE = 0.05
"""Largest difference, relative to the spread of the logits, at which the short way counts as the long one."""


@torch.no_grad()
def first_tokens(
    vlm: VLM,
    samples: Sequence[Sample],
    methods: Sequence[Method | Binds],
    *,
    memory: Memory | None = None,
    batch: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[list[int]]:
    """Return, for no method and then for each of `methods`, the likeliest first answer token of each sample.

    Args:
        vlm: the model.
        samples: prompts, with and without pictures.
        methods: each edits the last prompt token only, while the prompt is read.
        memory: what was read before on this model.
        batch: prompts whose cache is held at once.
        progress: called with (done, total).
    """
    size = batch or vlm.batch
    found = [[0] * len(samples) for _ in range(len(methods) + 1)]
    batches = list(vlm.batches(samples, size))
    total, done = len(batches) * len(methods), 0
    for indices in batches:
        encoded = vlm.encode([samples[i] for i in indices])
        shared = memory if memory is not None else Memory()
        with alone(vlm.anatomy):
            run, whole = _prepare(vlm, encoded, shared)
        _put(whole, found[0], indices)
        for number, method in enumerate(methods, start=1):
            with alone(vlm.anatomy):
                _put(run(method).argmax(-1).tolist(), found[number], indices)
            done += 1
            if progress is not None:
                progress(done, total)
    return found


def _put(values: Sequence[int], into: list[int], places: Sequence[int]) -> None:
    for place, value in zip(places, values, strict=True):
        into[place] = value


Run = Callable[[Method | Binds | None], Tensor]
"""A method (or none) to the logits of the first answer token, `batch x vocabulary`."""


def _prepare(vlm: VLM, encoded: Batch, memory: Memory) -> tuple[Run, list[int]]:
    """Read a batch; return what gives its first answer tokens under a method, and those without one."""
    inputs = encoded.inputs
    mask = inputs["attention_mask"]
    everywhere = (mask.cumsum(1) - 1).clamp(min=0)  # written out, or the padding would be counted
    # models that turn positions by picture (M-RoPE) count for themselves
    positions = {} if hasattr(vlm.anatomy.base, "get_rope_index") else {"position_ids": everywhere}
    output = unwrap(vlm.model)(**inputs, **positions, use_cache=True)
    logits, cache = output.logits[:, -1].float(), output.past_key_values
    short = _on_cache(vlm, encoded, everywhere[:, -1:], cache, memory)
    try:
        agrees = bool((short(None).to(logits.device) - logits).abs().max() <= TOLERANCE * logits.std())
    except (
        RuntimeError,
        ValueError,
        IndexError,
    ):  # a cache that cannot be cut, or is cut to another length than the mask
        agrees = False
    return short if agrees else _on_whole_prompt(vlm, encoded, memory), logits.argmax(-1).tolist()


def _on_cache(vlm: VLM, encoded: Batch, positions: Tensor, cache: Any, memory: Memory) -> Run:
    last = torch.ones_like(positions, dtype=torch.bool)
    reading = Reading(vlm.anatomy, vlm.pad, tuple(text_rows(vlm, encoded.samples)), encoded.samples, vlm, memory)

    def run(method: Method | Binds | None) -> Tensor:
        cache.crop(-1)
        step = Step(0, positions, last, ~last, last, True)
        with _in_place(vlm, None if method is None else bound(method, reading), step):
            hidden = vlm.anatomy.decoder(
                input_ids=encoded.inputs["input_ids"][:, -1:],
                attention_mask=encoded.inputs["attention_mask"],
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
            )[0]
        result: Tensor = vlm.anatomy.head(hidden[:, -1]).float()
        return result

    return run


def _on_whole_prompt(vlm: VLM, encoded: Batch, memory: Memory) -> Run:
    def run(method: Method | Binds | None) -> Tensor:
        with nullcontext() if method is None else Steered(vlm, method, memory).around(encoded):
            logits: Tensor = unwrap(vlm.model)(**encoded.inputs, use_cache=False).logits[:, -1].float()
        return logits

    return run


@contextmanager
def _in_place(vlm: VLM, method: Method | None, step: Step) -> Iterator[None]:
    with ExitStack() as stack:
        if method is not None:
            for layer in method.layers:
                here = Step(layer, step.positions, step.real, step.image, step.last, True)
                stack.enter_context(replacing(vlm.anatomy.blocks[layer], partial(method.edit, step=here)))
        yield
