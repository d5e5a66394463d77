"""Where an edit is told that it stands, while a prompt is read and an answer written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from sightguard.errors import EditError, EditNeverRan
from sightguard.models.encode import Batch
from sightguard.models.hooks import Prompt, editing
from sightguard.models.vlm import VLM
from sightguard.types import Step
from tests import tiny


@dataclass(frozen=True)
class Watch:
    """Edits nothing, and remembers where it stood."""

    layers: tuple[int, ...] = (0, 2)
    decodes: bool = True
    name: str = "watch"
    steps: list[tuple[tuple[int, ...], Step]] = field(default_factory=list)

    def edit(self, hidden: Tensor, step: Step) -> Tensor:
        self.steps.append((tuple(hidden.shape), step))
        return hidden


@pytest.fixture(scope="module")
def vlm() -> VLM:
    return tiny.vlm()


def watched(vlm: VLM, watch: Watch, **options: Any) -> tuple[Batch, list[Prompt], Tensor]:
    batch, prompts = vlm.encode(tiny.samples()), list[Prompt]()

    def bind(prompt: Prompt) -> Watch:
        prompts.append(prompt)
        return watch

    with editing(vlm.model, vlm.anatomy, watch.layers, bind), torch.no_grad():
        tokens: Any = vlm.model.generate(**batch.inputs, max_new_tokens=4, **{"do_sample": False, **options})
    return batch, prompts, tokens


def test_the_prompt_is_told_once_and_whole(vlm: VLM) -> None:
    batch, prompts, _ = watched(vlm, Watch())
    assert len(prompts) == 1
    for name in ("real", "image"):
        assert torch.equal(getattr(prompts[0], name), getattr(batch, name))
    assert torch.equal(prompts[0].input_ids, batch.inputs["input_ids"])


def test_while_reading_the_step_knows_positions_masks_and_the_last_token(vlm: VLM) -> None:
    watch = Watch()
    batch, _, _ = watched(vlm, watch)
    for (shape, step), layer in zip(watch.steps[:2], watch.layers, strict=True):
        assert (step.layer, step.prefill, shape[:2]) == (layer, True, tuple(batch.real.shape))
        assert torch.equal(step.real, batch.real)
        assert torch.equal(step.image, batch.image)
        assert step.last.sum(1).tolist() == [1] * 8
        assert step.last[:, -1].all()
        for row, positions in zip(batch.real, step.positions, strict=True):
            assert positions[row].tolist() == list(range(int(row.sum())))


@pytest.mark.parametrize("options", [{}, {"use_cache": False}, {"cache_implementation": "static"}])
def test_while_answering_positions_go_on_from_the_prompt(vlm: VLM, options: dict[str, Any]) -> None:
    watch = Watch(layers=(1,))
    batch, _, _ = watched(vlm, watch, **options)
    lengths = batch.real.sum(1)
    writing = [step for _, step in watch.steps if not step.prefill]
    newest = [step.positions[:, -1] - lengths for step in writing]
    assert [set(offset.tolist()) for offset in newest] == [{0}, {1}, {2}]
    for step in writing:
        assert step.real.all()
        assert not step.last.any()
        assert not step.image.any()


def test_a_method_that_does_not_decode_is_called_once_per_layer(vlm: VLM) -> None:
    watch = Watch(decodes=False)
    watched(vlm, watch)
    assert [step.layer for _, step in watch.steps] == [0, 2]


@pytest.mark.parametrize(
    "options",
    [
        {"num_beams": 3},
        {"do_sample": True, "num_return_sequences": 3},
        {"do_sample": True, "num_return_sequences": 3, "cache_implementation": "static"},
    ],
)
def test_repeated_rows_stand_side_by_side(vlm: VLM, options: dict[str, Any]) -> None:
    watch = Watch()
    batch, prompts, _ = watched(vlm, watch, **options)
    assert torch.equal(prompts[0].input_ids, batch.inputs["input_ids"].repeat_interleave(3, dim=0))
    assert torch.equal(prompts[0].real, batch.real.repeat_interleave(3, dim=0))
    assert torch.equal(watch.steps[-1][1].positions[:, -1], batch.real.sum(1).repeat_interleave(3) + 2)


def test_with_padding_on_the_right_the_last_token_is_the_last_real_one(vlm: VLM) -> None:
    watch, ids = Watch(layers=(1,)), torch.tensor([[9, 8, 7, 0, 0], [9, 8, 7, 6, 5]])
    with editing(vlm.model, vlm.anatomy, (1,), lambda prompt: watch), torch.no_grad():
        vlm.model(input_ids=ids, attention_mask=(ids != 0).long())
    assert watch.steps[0][1].last.nonzero().tolist() == [[0, 2], [1, 4]]


def test_layers_that_the_bound_method_does_not_name_are_left_alone(vlm: VLM) -> None:
    watch = Watch(layers=(1,))
    batch = vlm.encode(tiny.samples())
    with editing(vlm.model, vlm.anatomy, (0, 1, 2), lambda prompt: watch) as trace, torch.no_grad():
        vlm.model(**batch.inputs)
        vlm.model(**batch.inputs)
    assert (trace.fired, trace.prompts) == ({1: 2}, 2)


def test_a_method_that_names_a_layer_without_hook_never_ran(vlm: VLM) -> None:
    batch = vlm.encode(tiny.samples())
    with (
        editing(vlm.model, vlm.anatomy, (0, 1), lambda prompt: Watch(layers=(1, 3))),
        pytest.raises(EditNeverRan, match=r"watch was to edit layers \[1, 3\]; layers \[3\] never ran in this pass"),
    ):
        vlm.model(**batch.inputs)


def bad_bind(prompt: Prompt) -> Watch:
    raise ValueError("no reference")


def interrupted_bind(prompt: Prompt) -> Watch:
    raise KeyboardInterrupt


@pytest.mark.parametrize(("bind", "error"), [(bad_bind, ValueError), (interrupted_bind, KeyboardInterrupt)])
def test_a_method_that_fails_to_bind_leaves_nothing_behind(
    vlm: VLM, bind: Callable[[Prompt], Watch], error: type[BaseException]
) -> None:
    watched(vlm, Watch())
    before, batch = tiny.hooks(vlm.model), vlm.encode(tiny.samples())
    with editing(vlm.model, vlm.anatomy, (0,), bind):
        with pytest.raises(error):
            vlm.model(**batch.inputs)
        with pytest.raises(error):
            vlm.model.generate(**batch.inputs, max_new_tokens=1)
    assert tiny.hooks(vlm.model) == before
    watched(vlm, Watch())


def test_an_edit_that_fails_stops_the_pass_and_the_next_one_is_edited(vlm: VLM) -> None:
    @dataclass(frozen=True)
    class Failing:
        layers: tuple[int, ...] = (1,)
        decodes: bool = False
        name: str = "failing"
        calls: list[int] = field(default_factory=list)

        def edit(self, hidden: Tensor, step: Step) -> Tensor:
            self.calls.append(1)
            if len(self.calls) == 1:
                raise EditError("first")
            return hidden

    batch, method = vlm.encode(tiny.samples()), Failing()
    with editing(vlm.model, vlm.anatomy, (1,), lambda prompt: method):
        with pytest.raises(EditError, match="first"):
            vlm.model(**batch.inputs)
        with pytest.raises(EditError, match="called by itself"):
            vlm.anatomy.decoder(input_ids=batch.inputs["input_ids"])
        vlm.model(**batch.inputs)
    assert len(method.calls) == 2
