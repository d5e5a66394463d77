"""A method that notes what it did to each prompt, so that a request can be told, and nothing leaves where it did nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from sightguard.errors import EditNeverRan
from sightguard.serve.job import LayerGate
from sightguard.steering.method import Binds, Reading, Wrapping, WrappingBound, bound
from sightguard.steering.vlm_guard import BoundVlmGuard, Gated
from sightguard.types import Method, Step


@dataclass
class Seen:
    """What a method did to one prompt while it was read."""

    layers: set[int] = field(default_factory=set)
    gate: dict[int, LayerGate] = field(default_factory=dict)


@dataclass
class Notes:
    """What a method did, by the id of the sample."""

    by_id: dict[str, Seen] = field(default_factory=dict)

    def of(self, id: str, method: Method | Binds) -> Seen:
        """Return what was done to a prompt.

        Raises:
            EditNeverRan: less than the whole method; what the model says then is unguarded.
        """
        seen = self.by_id.get(id, Seen())
        if missing := sorted(set(method.layers) - seen.layers):
            raise EditNeverRan(
                f"{method.name} was to look at layers {list(method.layers)} while the prompt was read; layers {missing} never ran, "
                "so the answer is unguarded and withheld"
            )
        return seen


@dataclass(frozen=True)
class Watched(Wrapping):
    """A method that writes down what it does."""

    notes: Notes = field(repr=False)

    def bind(self, reading: Reading) -> Method:
        """Return the method for these prompts."""
        assert reading.samples is not None
        rows = [self.notes.by_id.setdefault(sample.id, Seen()) for sample in reading.samples]
        method = bound(self.inner, reading)
        if isinstance(method, BoundVlmGuard):
            method = replace(method, watch=_Gates(method.guard.gate == "image", rows))
        return _Bound(method, rows)


@dataclass(frozen=True)
class _Bound(WrappingBound):
    rows: Sequence[Seen] = field(repr=False)

    def edit(self, hidden: Tensor, step: Step) -> Tensor:
        edited = self.inner.edit(hidden, step)
        if step.prefill:
            for row in self.rows:
                row.layers.add(step.layer)
        return edited


@dataclass(frozen=True)
class _Gates:
    """Takes down the score that decides: of the reference, or of the state that is about to be edited."""

    by_image: bool
    rows: Sequence[Seen] = field(repr=False)

    def __call__(self, told: Gated) -> None:
        scores, limit = (told.image, told.limits[1]) if self.by_image else (told.text, told.limits[0])
        for row, score, fired in zip(told.rows.tolist(), scores.tolist(), told.fired.tolist(), strict=True):
            self.rows[row].gate[told.layer] = LayerGate(told.layer, score, limit, fired)
