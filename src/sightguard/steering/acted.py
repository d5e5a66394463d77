"""Whether a method acted on a prompt: whether it changed the state of the prompt's last token at any of its layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from sightguard.steering.method import Reading, Wrapping, WrappingBound, bound
from sightguard.types import Sample, Step


@dataclass
class Acted:
    """What is known of the prompts that were read, by the sample itself: two of them may share an id."""

    by_sample: dict[int, bool] = field(default_factory=dict)

    def on(self, sample: Sample) -> bool | None:
        """Return whether the method acted on a sample; None where it never read it."""
        return self.by_sample.get(id(sample))

    def add(self, samples: Sequence[Sample], acted: Sequence[bool]) -> None:
        """Take down one look at the rows of a pass; once is enough to have acted."""
        for sample, one in zip(samples, acted, strict=True):
            self.by_sample[id(sample)] = self.by_sample.get(id(sample), False) or one


@dataclass(frozen=True)
class Acting(Wrapping):
    """A method that takes down on which prompts it acts; it edits as the one inside does."""

    acted: Acted = field(repr=False)

    def bind(self, reading: Reading) -> _Bound:
        """Return the method for these prompts."""
        assert reading.samples is not None
        self.acted.add(reading.samples, [False] * len(reading.samples))
        return _Bound(bound(self.inner, reading), reading.samples, self.acted)


@dataclass(frozen=True)
class _Bound(WrappingBound):
    samples: tuple[Sample, ...] = field(repr=False)
    acted: Acted = field(repr=False)

    def edit(self, hidden: Tensor, step: Step) -> Tensor:
        edited = self.inner.edit(hidden, step)
        # a method that does nothing hands its states back, and there is nothing to compare
        if step.prefill and edited is not hidden:
            where = step.last.to(hidden.device)
            rows = where.nonzero()[:, 0].tolist()
            changed = (edited[where] != hidden[where]).any(-1).tolist()
            self.acted.add([self.samples[row] for row in rows], changed)
        return edited
