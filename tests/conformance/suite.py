"""What every method that edits hidden states must hold, as functions that any method can be put through.

Each check takes `make_vlm`, which returns a model, and `make_method`, which returns a method for a model at a strength
(1 unless told; 0 must do nothing). Each first shows that its prompts get at least five distinct outputs, so that equality means
something. `test_faults.py` shows for each check a fault that it finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest
import torch
from torch import Tensor

from sightguard.errors import EditNeverRan, FingerprintMismatch
from sightguard.models.encode import Batch
from sightguard.models.hooks import recording
from sightguard.models.vlm import VLM
from sightguard.steering.method import Binds, Reading, bound, text_rows
from sightguard.steering.steer import steer
from sightguard.types import Method, Sample, Step
from tests import tiny

AnyMethod = Method | Binds
MakeVlm = Callable[[], VLM]


class MakeMethod(Protocol):
    def __call__(self, vlm: VLM, strength: float = 1.0, /) -> AnyMethod: ...


MARGIN = 1e-3
"""Two ways of computing the same logits may differ so much; where the best two tokens are nearer, the choice is open."""
close = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-4)
"""Compares states of one prompt in batches of different width: float32 rounding, through the layers."""


def check_strength_zero_is_the_identity(make_vlm: MakeVlm, make_method: MakeMethod) -> None:
    vlm = make_vlm()
    plain = answers(vlm, None, tiny.samples())
    distinct(plain.rows)
    assert answers(vlm, make_method(vlm, 0.0), tiny.samples()).rows == plain.rows


def check_shape_dtype_and_device_are_kept(make_vlm: MakeVlm, make_method: MakeMethod) -> None:
    vlm = make_vlm()
    for edit, hidden, step in edits(vlm, make_method(vlm), tiny.samples()):
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            given = hidden.to(dtype)
            edited = edit(given, step)
            assert (edited.shape, edited.dtype, edited.device) == (given.shape, given.dtype, given.device)


def check_the_input_is_unchanged(make_vlm: MakeVlm, make_method: MakeMethod) -> None:
    vlm = make_vlm()
    for edit, hidden, step in edits(vlm, make_method(vlm), tiny.samples()):
        before = hidden.clone()
        edit(hidden, step)
        assert torch.equal(hidden, before)


def check_the_order_in_the_batch_does_not_matter(make_vlm: MakeVlm, make_method: MakeMethod) -> None:
    vlm, samples = make_vlm(), tiny.samples()
    order = [3, 0, 7, 5, 1, 6, 2, 4]
    method = make_method(vlm)
    for (edit, hidden, step), (other, moved, its_step) in zip(
        edits(vlm, method, samples), edits(vlm, method, [samples[i] for i in order]), strict=True
    ):
        close(edit(hidden, step)[order], other(hidden[order], its_step))
        assert moved.shape == hidden.shape


def check_left_padding_does_not_matter(make_vlm: MakeVlm, make_method: MakeMethod, columns: int = 5) -> None:
    vlm = make_vlm()
    for edit, hidden, step in edits(vlm, make_method(vlm), tiny.samples()):
        garbage = torch.randn(hidden.shape[0], columns, hidden.shape[2], generator=torch.manual_seed(0))
        edited = edit(torch.cat([garbage, hidden], dim=1), padded(step, columns))
        torch.testing.assert_close(edited[:, columns:], edit(hidden, step), rtol=0, atol=0)
        torch.testing.assert_close(edited[:, :columns], garbage, rtol=0, atol=0)


def check_one_prompt_alone_is_answered_as_in_a_batch(make_vlm: MakeVlm, make_method: MakeMethod) -> None:
    vlm, samples = make_vlm(), tiny.samples()
    together = answers(vlm, make_method(vlm), samples)
    distinct(together.rows)
    alone = [answers(vlm, make_method(vlm), [sample]) for sample in samples]
    same_tokens(together, joined(alone))


def check_repeated_rows_are_edited_like_single_ones(make_vlm: MakeVlm, make_method: MakeMethod) -> None:
    """Beams and several sequences per prompt: each copy of a prompt gets the edit of that prompt."""
    vlm, samples = make_vlm(), tiny.samples()
    method = make_method(vlm)
    single = prefill_states(vlm, method, samples)
    distinct(single.tolist())
    for options in ({"num_beams": 3}, {"do_sample": True, "num_return_sequences": 2}):
        times = max(int(value) for value in options.values())
        repeated = prefill_states(vlm, method, samples, **options)
        close(repeated, single.repeat_interleave(times, dim=0))


def check_beams_and_sampling_are_answered_as_one_by_one(make_vlm: MakeVlm, make_method: MakeMethod) -> None:
    vlm, samples = make_vlm(), tiny.samples()
    beams = answers(vlm, make_method(vlm), samples, num_beams=3)
    distinct(beams.rows)
    assert beams.rows == [answers(vlm, make_method(vlm), [sample], num_beams=3).rows[0] for sample in samples]
    by_hand = [sample for sample in samples for _ in range(2)]
    repeated = answers(vlm, make_method(vlm), samples, seed=1, num_return_sequences=2)
    distinct(repeated.rows)
    assert repeated.rows == answers(vlm, make_method(vlm), by_hand, seed=1).rows
    assert repeated.rows != answers(vlm, make_method(vlm), by_hand, seed=2).rows


def check_with_and_without_cache_agree(make_vlm: MakeVlm, make_method: MakeMethod) -> None:
    vlm, samples = make_vlm(), tiny.samples()
    cached = answers(vlm, make_method(vlm), samples)
    distinct(cached.rows)
    same_tokens(cached, answers(vlm, make_method(vlm), samples, use_cache=False))


def check_the_edit_fires_or_raises(make_vlm: MakeVlm, make_method: MakeMethod) -> None:
    vlm, samples = make_vlm(), tiny.samples()
    plain, steered = prefill_states(vlm, None, samples), prefill_states(vlm, make_method(vlm), samples)
    distinct(plain.tolist())
    assert (plain - steered).abs().amax(1).gt(1e-3).any(), "the method changed no prompt"
    # hooks on blocks that are not the ones that run
    ready = bound(make_method(vlm), reading(vlm, samples))
    astray = VLM(vlm.model, vlm.processor)
    object.__setattr__(astray, "anatomy", replace(vlm.anatomy, blocks=deepcopy(vlm.anatomy.blocks)))
    with pytest.raises(EditNeverRan, match=r"layers \[.*\] never ran"):
        steer(astray, ready)(samples)


def check_no_hook_is_left(make_vlm: MakeVlm, make_method: MakeMethod) -> None:
    vlm = make_vlm()
    plain = answers(vlm, None, tiny.samples()).rows
    before = tiny.hooks(vlm.model)
    answers(vlm, make_method(vlm), tiny.samples())
    assert tiny.hooks(vlm.model) == before
    for error in (ValueError("in the middle"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            answers(vlm, make_method(vlm), tiny.samples(), logits_processor=[_Raise(error)])
        assert tiny.hooks(vlm.model) == before
    assert answers(vlm, None, tiny.samples()).rows == plain


def check_saved_and_loaded_it_answers_the_same(make_vlm: MakeVlm, make_method: MakeMethod, folder: Path) -> None:
    vlm = make_vlm()
    method: Any = make_method(vlm, 0.9)
    before = prefill_states(vlm, method, tiny.samples())
    distinct(before.tolist())
    method.save_pretrained(folder)
    loaded = type(method).from_pretrained(folder)
    assert torch.equal(prefill_states(vlm, loaded, tiny.samples()), before)
    assert answers(vlm, loaded, tiny.samples()).rows == answers(vlm, method, tiny.samples()).rows


def check_another_model_is_refused(make_vlm: MakeVlm, make_method: MakeMethod) -> None:
    vlm = make_vlm()
    other = VLM(deepcopy(vlm.model), vlm.processor)
    with torch.no_grad():
        for parameter in other.anatomy.decoder.parameters():
            parameter.mul_(1.01)
    method = make_method(vlm)
    with pytest.raises(FingerprintMismatch, match="made for another model: weights"):
        steer(VLM(other.model, vlm.processor), method)


def check_projection_leaves_no_residue(edit: Callable[[Tensor], Tensor], vectors: Tensor) -> None:
    """`edit` removes the span of the orthonormal rows of `vectors` from `n x hidden` states, hidden at least 256.

    What is left in bfloat16 is the rounding of the result, about 2⁻⁹/√hidden of the norm.
    """
    assert vectors.shape[1] >= 256
    states = torch.randn(200, vectors.shape[1], generator=torch.manual_seed(0)) * 3
    distinct(states.tolist())
    for dtype, limit in ((torch.float32, 1e-6), (torch.bfloat16, 5e-4)):
        given = states.to(dtype)
        residue = (edit(given).double() @ vectors.double().T).abs() / given.double().norm(dim=1, keepdim=True)
        assert residue.max() < limit, f"{dtype}: residue {float(residue.max()):.1e} of the norm"


def check_shift_moves_by(edit: Callable[[Tensor], Tensor], vector: Tensor) -> None:
    """`edit` adds `vector` to `n x hidden` states, to the rounding of float32."""
    states = torch.randn(200, vector.shape[-1], generator=torch.manual_seed(0)) * 3
    distinct(states.tolist())
    torch.testing.assert_close(edit(states), states + vector, rtol=1e-6, atol=2e-6)


# What the checks are made of.


@dataclass(frozen=True)
class Answers:
    """Tokens per row, and by how much the best token stood above the second best."""

    rows: list[tuple[int, ...]]
    margins: list[tuple[float, ...]]


def answers(
    vlm: VLM,
    method: AnyMethod | None,
    samples: Sequence[Sample],
    *,
    seed: int | None = None,
    new: int = 6,
    **options: Any,
) -> Answers:
    """Answer `samples` in one batch; sampled where there is a seed."""
    batch = vlm.encode(samples)
    with around(vlm, method, batch), torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed or 0)
        out: Any = vlm.model.generate(
            **batch.inputs, max_new_tokens=new, do_sample=seed is not None, output_logits=True,
            return_dict_in_generate=True, **options,
        )  # fmt: skip
    end: Any = vlm.model.generation_config.eos_token_id
    ends = end if isinstance(end, list) else [end]
    tokens = [ended(row, ends) for row in out.sequences[:, batch.length :].tolist()]
    best = torch.stack(out.logits, dim=1).topk(2).values
    return Answers(tokens, [tuple(row) for row in (best[..., 0] - best[..., 1]).tolist()])


def ended(row: list[int], ends: Sequence[int]) -> tuple[int, ...]:
    """Return an answer up to its end, without what fills it up to the longest of its batch."""
    length = next((i + 1 for i, token in enumerate(row) if token in ends), len(row))
    return tuple(row[:length])


@contextmanager
def around(vlm: VLM, method: AnyMethod | None, batch: Batch) -> Iterator[None]:
    with nullcontext() if method is None else steer(vlm, method).around(batch):
        yield


def prefill_states(vlm: VLM, method: AnyMethod | None, samples: Sequence[Sample], **options: Any) -> Tensor:
    """Return what `generate` makes of the last prompt token at the last layer, `rows x hidden`."""
    batch, last = vlm.encode(samples), vlm.anatomy.depth - 1
    with around(vlm, method, batch), recording(vlm.anatomy, [last]) as seen, torch.no_grad():
        vlm.model.generate(**batch.inputs, max_new_tokens=1, **{"do_sample": False, **options})
    return seen[last][:, -1]


def edits(
    vlm: VLM, method: AnyMethod, samples: Sequence[Sample]
) -> list[tuple[Callable[[Tensor, Step], Tensor], Tensor, Step]]:
    """Return, per edited layer, the edit bound to `samples`, the states that it would meet, and where it would stand."""
    batch = vlm.encode(samples)
    ready = bound(method, reading(vlm, samples))
    with recording(vlm.anatomy, ready.layers) as seen, torch.no_grad():
        vlm.model(**batch.inputs)
    distinct(seen[ready.layers[0]][:, -1].tolist())
    positions = (batch.real.long().cumsum(1) - 1).clamp(min=0)
    last = torch.zeros_like(batch.real)
    last[:, -1] = True
    return [
        (ready.edit, seen[layer], Step(layer, positions, batch.real, batch.image, last, prefill=True))
        for layer in ready.layers
    ]


def reading(vlm: VLM, samples: Sequence[Sample]) -> Reading:
    return Reading(vlm.anatomy, vlm.pad, tuple(text_rows(vlm, samples)), tuple(samples), vlm)


def padded(step: Step, columns: int) -> Step:
    """Return `step` with padding columns before it."""

    def more(mask: Tensor) -> Tensor:
        return torch.cat([torch.zeros(mask.shape[0], columns, dtype=mask.dtype), mask], dim=1)

    return replace(
        step, positions=more(step.positions), real=more(step.real), image=more(step.image), last=more(step.last)
    )


def distinct(rows: Sequence[Sequence[Any]], at_least: int = 5) -> None:
    assert len({tuple(row) for row in rows}) >= at_least, "the prompts of this check hardly differ, so it shows nothing"


def joined(parts: Sequence[Answers]) -> Answers:
    return Answers([row for part in parts for row in part.rows], [row for part in parts for row in part.margins])


def same_tokens(one: Answers, other: Answers) -> None:
    """Both chose the same tokens, up to the first choice in a row that was open."""
    compared = 0
    for row, its_margins, expected in zip(one.rows, one.margins, other.rows, strict=True):
        for token, margin, its_token in zip(row, its_margins, expected, strict=False):
            if margin < MARGIN:
                break
            assert token == its_token, f"{row} and {expected}"
            compared += 1
    assert compared >= len(one.rows), "hardly any choice was clear, so this check shows nothing"


@dataclass
class _Raise:
    """A logits processor that raises at the second token of the answer."""

    error: BaseException
    calls: int = 0

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == 2:
            raise self.error
        return scores
