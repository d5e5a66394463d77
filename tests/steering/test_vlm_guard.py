"""The formulas of the card, by hand-computed numbers and as theorems, without a model."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sightguard.errors import UnknownName, UsageError
from sightguard.steering.gates import fires
from sightguard.steering.vlm_guard import VlmGuard
from tests.conformance import suite
from tests.steering import made

V = torch.tensor([[0.6, 0.8, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
H = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
Q = torch.tensor([[5.0, 0.0, -1.0, 7.0]])
# by hand: H·Vᵀ = (2.2, 3), Q·Vᵀ = (3, −1)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # (1): H − (2.2·V₁ + 3·V₂)
        ({"kind": "project"}, [-0.32, 0.24, 0.0, 4.0]),
        # (3): H + 3·V₁ − 1·V₂
        ({"kind": "shift"}, [2.8, 4.4, 2.0, 4.0]),
        ({"kind": "shift", "alpha": 2.0}, [4.6, 6.8, 1.0, 4.0]),
        ({"kind": "shift", "alpha": -1.0}, [-0.8, -0.4, 4.0, 4.0]),
        # (1) then (3)
        ({"kind": "project_then_shift"}, [1.48, 2.64, -1.0, 4.0]),
        ({"kind": "project_then_shift", "alpha": 0.5}, [0.58, 1.44, -0.5, 4.0]),
        ({"kind": "project_then_shift", "strength": 0.5}, [1.24, 2.32, 1.0, 4.0]),
        ({"kind": "shift", "strength": 0.5}, [1.9, 3.2, 2.5, 4.0]),
    ],
)
@pytest.mark.filterwarnings("ignore:projection alone")
def test_the_formulas_give_the_numbers_of_the_card(options: dict[str, Any], expected: list[float]) -> None:
    edited = made.bound(V, Q, **options).edit(H[:, None], made.reading_step(1, 1))
    torch.testing.assert_close(edited[0, 0], torch.tensor(expected))


def test_the_same_input_is_its_own_reference() -> None:
    edited = made.bound(V, None, kind="shift", reference="same_input").edit(H[:, None], made.reading_step(1, 1))
    torch.testing.assert_close(edited[0, 0], torch.tensor([1 + 2.2 * 0.6, 2 + 2.2 * 0.8, 6.0, 4.0]))


@pytest.mark.parametrize("kind", ["project", "shift", "project_then_shift"])
@pytest.mark.parametrize("fired", [True, False])
@pytest.mark.filterwarnings("ignore:projection alone")
def test_the_gate_stands_before_every_kind(kind: str, fired: bool) -> None:
    query = Q if fired else -Q
    edited = made.bound(V, query, kind=kind, gate="text").edit(H[:, None], made.reading_step(1, 1))
    assert torch.equal(edited, H[:, None]) is not fired


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rows_that_the_gate_spares_are_returned_bit_by_bit(dtype: torch.dtype) -> None:
    vectors = made.orthonormal(3, 64)
    hidden = torch.randn(6, 5, 64, generator=torch.manual_seed(1)).to(dtype)
    query = torch.randn(6, 64, generator=torch.manual_seed(2))
    fired = query @ vectors[0] > 0
    assert 0 < fired.sum() < 6
    edited = made.bound(vectors, query, gate="text").edit(hidden, made.reading_step(6, 5))
    assert torch.equal(edited[~fired], hidden[~fired])
    assert torch.equal(edited[:, :-1], hidden[:, :-1])
    assert (edited[fired, -1] != hidden[fired, -1]).any(1).all()


@pytest.mark.parametrize(
    ("gate", "expected"),
    [
        ("text", [True, True, False, False]),
        ("image", [True, False, True, False]),
        ("either", [True, True, True, False]),
        ("always", [True] * 4),
    ],
)
def test_the_gate_reads_the_score_that_it_names(gate: Any, expected: list[bool]) -> None:
    text, image = torch.tensor([2.0, 2.0, 1.0, 1.0]), torch.tensor([5.0, 4.0, 5.0, 4.0])
    assert fires(gate, text, image, (1.0, 4.0)).tolist() == expected


def edit_of(vectors: Tensor, query: Tensor, **options: Any) -> Any:
    """The edit as a function of `n x hidden` last-token states."""

    def edit(states: Tensor) -> Tensor:
        ready = made.bound(vectors, query.expand(len(states), -1), **options)
        return ready.edit(states[:, None], made.reading_step(len(states), 1))[:, 0]

    return edit


@pytest.mark.filterwarnings("ignore:projection alone")
def test_after_a_projection_nothing_is_left_along_the_directions() -> None:
    vectors, query = made.orthonormal(4, 256), torch.randn(1, 256)
    suite.check_projection_leaves_no_residue(edit_of(vectors, query, kind="project"), vectors)


def test_a_shift_moves_by_the_reference_times_alpha() -> None:
    vectors = made.orthonormal(4, 256)
    query = torch.randn(1, 256, generator=torch.manual_seed(3))
    moved = 1.5 * (query @ vectors.T) @ vectors
    suite.check_shift_moves_by(edit_of(vectors, query, kind="shift", alpha=1.5), moved[0])


def test_project_then_shift_gives_the_coordinates_of_the_reference_and_leaves_the_rest() -> None:
    vectors, query = made.orthonormal(4, 256), torch.randn(1, 256, generator=torch.manual_seed(3))
    states = torch.randn(50, 256, generator=torch.manual_seed(4))
    edited = edit_of(vectors, query)(states)
    torch.testing.assert_close(edited @ vectors.T, (query @ vectors.T).expand(50, -1), rtol=1e-5, atol=1e-5)

    def rest(h: Tensor) -> Tensor:
        return h - h @ vectors.T @ vectors

    torch.testing.assert_close(rest(edited), rest(states), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(edit_of(vectors, query)(edited), edited, rtol=1e-5, atol=1e-5)


def test_answers_are_edited_only_where_the_phase_says_so() -> None:
    states = H[:, None]
    assert torch.equal(made.bound(V, Q).edit(states, made.writing_step(1)), states)
    answering = made.bound(V, Q, phase="prefill+decode").edit(states, made.writing_step(1))
    torch.testing.assert_close(answering[0, 0], torch.tensor([1.48, 2.64, -1.0, 4.0]))


def test_gradients_flow_through_the_edit() -> None:
    hidden = torch.randn(2, 3, 4, requires_grad=True)
    edited = made.bound(V, Q.expand(2, -1)).edit(hidden, made.reading_step(2, 3))
    edited[:, -1].sum().backward()
    assert hidden.grad is not None
    # d(h − hVᵀV + const)/dh is the projection beside V
    torch.testing.assert_close(hidden.grad[0, -1], torch.ones(4) - (V.sum(1) @ V))
    assert torch.equal(hidden.grad[:, :-1], torch.zeros(2, 2, 4))


def test_projection_alone_warns() -> None:
    with pytest.warns(UserWarning, match="takes the model's own refusals away .* kind='project_then_shift'"):
        made.bound(V, Q, kind="project")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "projekt"}, "no kind 'projekt'. Did you mean 'project'"),
        ({"reference": "captions"}, "no reference 'captions'. Did you mean 'caption'"),
        ({"gate": "texts"}, "no gate 'texts'. Did you mean 'text'"),
        ({"threshold": "midpoints"}, "no threshold 'midpoints'. Did you mean 'midpoint'"),
        ({"phase": "decode"}, "no phase 'decode'. Did you mean 'prefill"),
        ({"layers": (0, 7)}, "no layer '7'.* directions were fitted"),
    ],
)
def test_unknown_options_are_named_with_what_is_close(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownName, match=message):
        replace(made.bound(V, Q).guard, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": ()}, "at least one layer"),
        ({"m": 0}, "m must be between 1 and 2.*got 0"),
        ({"m": 3}, "m must be between 1 and 2.*got 3"),
        (
            {"threshold": "calibrated"},
            r"needs a pair of thresholds for every edited layer; there are none for layers \[0\]",
        ),
        ({"threshold": "calibrated", "thresholds": {0: (math.nan, 0.0)}}, "not a finite number"),
        ({"threshold": "calibrated", "thresholds": {0: (math.inf, 0.0)}}, "not a finite number"),
        ({"alpha": math.nan}, "alpha and strength must be finite"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(made.bound(V, Q).guard, **changes)


def test_other_layers_take_their_own_thresholds() -> None:
    three = made.directions(torch.stack([V, V, V]))
    thresholds = {0: (0.0, 10.0), 2: (2.0, 20.0)}
    guard = VlmGuard(three, made.FINGERPRINT, (2, 0), m=1, threshold="calibrated", thresholds=thresholds)
    assert (guard.layers, guard.limits()) == ((0, 2), ((0.0, 10.0), (2.0, 20.0)))
    assert replace(guard, layers=(2,)).limits() == ((2.0, 20.0),)
    with pytest.raises(UsageError, match=r"there are none for layers \[1\]"):
        replace(guard, layers=(1, 2))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"threshold": "literal"}, ((0.0, 0.0), (0.0, 0.0))),
        ({"threshold": "midpoint"}, ((2.0, 2.0), (-1.0, -1.0))),
        ({"threshold": "anchored", "thresholds": {0: (3.0, 4.0), 1: (5.0, 6.0)}}, ((3.0, 4.0), (5.0, 6.0))),
    ],
)
def test_the_threshold_in_force_is_that_of_the_rule(options: dict[str, Any], expected: Any) -> None:
    both = made.directions(torch.stack([V, V]), means=[(1.0, 3.0), (-4.0, 2.0)])
    assert VlmGuard(both, made.FINGERPRINT, (0, 1), m=1, **options).limits() == expected


def test_another_reference_has_another_name() -> None:
    guard = made.bound(V, Q).guard
    assert (guard.name, replace(guard, reference="caption").name) == ("vlm_guard", "vlm_guard_caption")
