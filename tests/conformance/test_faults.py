"""Each check of the suite passes on a simple sound method, and fails on the fault that it is there to find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sightguard.artifacts import Fingerprint
from sightguard.models.vlm import VLM
from sightguard.steering.method import Reading
from sightguard.types import Step
from tests import tiny
from tests.conformance import suite

Formula = Callable[["Push", Tensor, Step], Tensor]


def sound(method: Push, hidden: Tensor, step: Step) -> Tensor:
    """Push the last token of the prompt, and each of the answer, by a vector of its row."""
    where = step.last if step.prefill else step.real
    push = (method.strength * method.push[: len(hidden), None]).to(hidden.dtype)
    return torch.where(where[..., None], hidden + push, hidden)


@dataclass(frozen=True)
class Push:
    """A method as small as they get: the push of a prompt is a fixed vector times the number of its words."""

    vector: Tensor
    fingerprint: Fingerprint
    layers: tuple[int, ...] = (1, 2)
    strength: float = 1.0
    formula: Formula = sound
    rows: Callable[[list[int]], list[int]] = list
    when_bound: Callable[[Reading], object] = field(default=lambda reading: None)
    push: Tensor = field(default_factory=lambda: torch.zeros(0))
    name: str = "push"
    decodes: bool = True

    def bind(self, reading: Reading) -> BoundPush:
        self.when_bound(reading)
        sizes = torch.tensor(self.rows([1 + len(row) % 5 for row in reading.text]))
        return BoundPush(replace(self, push=sizes[:, None] * self.vector))

    def save_pretrained(self, folder: Path) -> None:
        folder.mkdir()
        save_file({"vector": self.vector, "strength": torch.tensor(self.strength)}, folder / "push.safetensors")
        (folder / "fingerprint.json").write_text(repr(self.fingerprint.as_json()))

    @classmethod
    def from_pretrained(cls, folder: Path) -> Push:
        import ast

        tensors = load_file(folder / "push.safetensors")
        known = Fingerprint.of(ast.literal_eval((folder / "fingerprint.json").read_text()))
        return cls(tensors["vector"], known, strength=float(tensors["strength"]))


@dataclass(frozen=True)
class BoundPush:
    method: Push

    @property
    def name(self) -> str:
        return self.method.name

    @property
    def layers(self) -> tuple[int, ...]:
        return self.method.layers

    @property
    def decodes(self) -> bool:
        return self.method.decodes

    def edit(self, hidden: Tensor, step: Step) -> Tensor:
        return self.method.formula(self.method, hidden, step)


@cache
def vlm() -> VLM:
    return tiny.vlm()


def make(model: VLM, strength: float = 1.0, **faults: Any) -> Push:
    vector = torch.randn(model.anatomy.hidden_size, generator=torch.manual_seed(1))
    return Push(vector, vlm().fingerprint, strength=strength, **faults)


def with_formula(formula: Formula) -> suite.MakeMethod:
    return partial(make, formula=formula)


def in_place(method: Push, hidden: Tensor, step: Step) -> Tensor:
    return hidden.copy_(sound(method, hidden, step))


def in_double(method: Push, hidden: Tensor, step: Step) -> Tensor:
    return sound(method, hidden, step).double()


def cut_short(method: Push, hidden: Tensor, step: Step) -> Tensor:
    return sound(method, hidden, step)[:, -1:]


def never(method: Push, hidden: Tensor, step: Step) -> Tensor:
    return hidden


def deaf_to_strength(method: Push, hidden: Tensor, step: Step) -> Tensor:
    return sound(replace(method, strength=1.0), hidden, step)


def mixing_rows(method: Push, hidden: Tensor, step: Step) -> Tensor:
    return sound(method, hidden, step) + 0.3 * hidden[:1, -1:]


def counting_columns(method: Push, hidden: Tensor, step: Step) -> Tensor:
    columns = torch.arange(hidden.shape[1])
    return sound(method, hidden, step) + 0.1 * columns[:, None]


def editing_padding(method: Push, hidden: Tensor, step: Step) -> Tensor:
    return sound(method, hidden, step) + 0.1


def late_by_one(method: Push, hidden: Tensor, step: Step) -> Tensor:
    """While answering, take each token of the pass but the first: right without a cache, nothing with one."""
    if step.prefill:
        return sound(method, hidden, step)
    return torch.cat([hidden[:, :1], sound(method, hidden, step)[:, 1:]], dim=1)


def counting_in_the_pass(method: Push, hidden: Tensor, step: Step) -> Tensor:
    """While answering, take positions as they stand in the pass, not in the conversation."""
    places = torch.arange(hidden.shape[1]) + (0 if step.prefill else 1)
    return sound(method, hidden, step) * (1 + 0.2 * places[:, None] * (not step.prefill))


def leak(reading: Reading) -> None:
    reading.anatomy.blocks[0].register_forward_hook(lambda *_: None)


def first_of_all(sizes: list[int]) -> list[int]:
    return [sizes[0]] * len(sizes)


def tiled(sizes: list[int]) -> list[int]:
    """Take repeated rows as prompt 1, 2, …, 1, 2, … where they are 1, 1, …, 2, 2, …"""
    return sizes if len(sizes) <= 8 else (sizes[:: len(sizes) // 8] * len(sizes))[: len(sizes)]


@dataclass(frozen=True)
class Forgetful(Push):
    """Saves all but its strength."""

    @classmethod
    def from_pretrained(cls, folder: Path) -> Push:
        return replace(Push.from_pretrained(folder), strength=1.0)


def forgetful(model: VLM, strength: float = 1.0) -> Push:
    whole = make(model, strength)
    return Forgetful(whole.vector, whole.fingerprint, strength=strength)


def nameless(model: VLM, strength: float = 1.0) -> Any:
    return BoundPush(replace(make(model, strength), push=torch.ones(99, 1) * make(model).vector))


FAULTS: list[tuple[Callable[..., None], suite.MakeMethod]] = [
    (suite.check_strength_zero_is_the_identity, with_formula(deaf_to_strength)),
    (suite.check_shape_dtype_and_device_are_kept, with_formula(in_double)),
    (suite.check_shape_dtype_and_device_are_kept, with_formula(cut_short)),
    (suite.check_the_input_is_unchanged, with_formula(in_place)),
    (suite.check_the_order_in_the_batch_does_not_matter, with_formula(mixing_rows)),
    (suite.check_the_order_in_the_batch_does_not_matter, partial(make, rows=first_of_all)),
    (suite.check_left_padding_does_not_matter, with_formula(counting_columns)),
    (suite.check_left_padding_does_not_matter, with_formula(editing_padding)),
    (suite.check_one_prompt_alone_is_answered_as_in_a_batch, partial(make, rows=first_of_all)),
    (suite.check_one_prompt_alone_is_answered_as_in_a_batch, with_formula(mixing_rows)),
    (suite.check_repeated_rows_are_edited_like_single_ones, partial(make, rows=tiled)),
    (suite.check_beams_and_sampling_are_answered_as_one_by_one, partial(make, rows=tiled)),
    (suite.check_with_and_without_cache_agree, with_formula(late_by_one)),
    (suite.check_with_and_without_cache_agree, with_formula(counting_in_the_pass)),
    (suite.check_the_edit_fires_or_raises, with_formula(never)),
    (suite.check_no_hook_is_left, partial(make, when_bound=leak)),
    (suite.check_another_model_is_refused, nameless),
]


@pytest.mark.parametrize("check", dict.fromkeys(check for check, _ in FAULTS), ids=lambda check: check.__name__)
def test_a_sound_method_passes(check: Callable[..., None]) -> None:
    check(vlm, make)


@pytest.mark.parametrize(("check", "faulty"), FAULTS)
def test_the_check_finds_the_fault(check: Callable[..., None], faulty: suite.MakeMethod) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check(tiny.vlm, faulty)


def test_saving_is_checked(tmp_path: Path) -> None:
    suite.check_saved_and_loaded_it_answers_the_same(vlm, make, tmp_path / "sound")
    with pytest.raises(AssertionError):
        suite.check_saved_and_loaded_it_answers_the_same(vlm, forgetful, tmp_path / "forgetful")


def test_projections_and_shifts_are_checked() -> None:
    vectors = torch.linalg.qr(torch.randn(256, 3, dtype=torch.float64)).Q.T.float()
    suite.check_projection_leaves_no_residue(
        lambda h: (h.float() - h.float() @ vectors.T @ vectors).to(h.dtype), vectors
    )
    with pytest.raises(AssertionError, match="residue"):
        suite.check_projection_leaves_no_residue(
            lambda h: h - h @ vectors[:2].T.to(h.dtype) @ vectors[:2].to(h.dtype), vectors
        )
    suite.check_shift_moves_by(lambda h: h + vectors[0], vectors[0])
    with pytest.raises(AssertionError):
        suite.check_shift_moves_by(lambda h: h + 0.99 * vectors[0], vectors[0])


def test_prompts_that_hardly_differ_show_nothing() -> None:
    def same(*_: Any, **__: Any) -> Any:
        model = tiny.vlm()
        with torch.no_grad():
            model.model.lm_head.weight.zero_()
        return model

    with pytest.raises(AssertionError, match="hardly differ"):
        suite.check_strength_zero_is_the_identity(same, make)
