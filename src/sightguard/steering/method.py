"""What a method is told before a prompt is read, and how text-only queries are made from prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from sightguard.models import text
from sightguard.models.chat import render
from sightguard.models.hooks import alone
from sightguard.steering.memory import Memory
from sightguard.types import Method, Sample

if TYPE_CHECKING:
    from sightguard.models.anatomy import Anatomy
    from sightguard.models.hooks import Prompt
    from sightguard.models.vlm import VLM

Row = tuple[int, ...]
"""Token ids of one prompt, padding left out."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A batch of prompts that is about to be read. Rows count beams and repeated sequences; prompts do not."""

    anatomy: Anatomy
    pad: int
    text: tuple[Row, ...]
    """The text-only query of each row: the conversation with its pictures removed."""
    samples: tuple[Sample, ...] | None = None
    """The conversation of each row; None when a guard stands around a bare `model.generate`."""
    vlm: VLM | None = None
    memory: Memory = field(default_factory=Memory, repr=False, compare=False)
    shown: tuple[bool, ...] | None = None
    """Whether each row holds a picture; None where `samples` say it."""

    @property
    def pictured(self) -> tuple[bool, ...]:
        """Whether each row holds a picture; without samples or masks every row counts as if it did."""
        if self.samples is not None:
            return tuple(bool(sample.images) for sample in self.samples)
        return self.shown if self.shown is not None else (True,) * len(self.text)

    def only(self, rows: Sequence[int]) -> Reading:
        """Return the reading of some of the rows."""
        samples = None if self.samples is None else tuple(self.samples[i] for i in rows)
        shown = None if self.shown is None else tuple(self.shown[i] for i in rows)
        return replace(self, text=tuple(self.text[i] for i in rows), samples=samples, shown=shown)


@runtime_checkable
class Binds(Protocol):
    """A method that needs to look at the prompts first, such as VLM-Guard at their text-only query."""

    @property
    def name(self) -> str: ...

    @property
    def layers(self) -> tuple[int, ...]: ...

    def bind(self, reading: Reading) -> Method:
        """Return the method made ready for these prompts."""
        ...


@dataclass(frozen=True)
class Wrapping:
    """A method that stands around another, under its name and at its layers."""

    inner: Method | Binds

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def layers(self) -> tuple[int, ...]:
        return self.inner.layers


@dataclass(frozen=True)
class WrappingBound(Wrapping):
    """The same for one that is ready for its prompts."""

    inner: Method

    @property
    def decodes(self) -> bool:
        return self.inner.decodes


def bound(method: Method | Binds, reading: Reading) -> Method:
    """Return `method` ready for the prompts of `reading`."""
    return method.bind(reading) if isinstance(method, Binds) else method


def text_rows(vlm: VLM, samples: Sequence[Sample]) -> list[Row]:
    """Return the text-only query of each sample: the whole conversation, pictures removed, by the model's own chat template.

    A sample that is only pictures and blanks, or whose last turn is, gives an empty row: it has no text-only query.
    """
    bare = [sample.without_images() for sample in samples]
    spoken = [i for i, sample in enumerate(samples) if _asks(sample)]
    rows: list[Row] = [()] * len(samples)
    if spoken:
        rendered = render(vlm.processor, [bare[i] for i in spoken])
        with alone(vlm.anatomy):  # as in VLM.encode
            ids = text.text_rows(vlm.processor, rendered)
        for i, row in zip(spoken, ids, strict=True):
            rows[i] = tuple(row)
    return rows


def rows_without_images(prompt: Prompt) -> list[Row]:
    """Return the text-only query of each row of a bare `generate` call: its tokens without the image placeholders."""
    keep = prompt.real & ~prompt.image
    return [tuple(ids[mask].tolist()) for ids, mask in zip(prompt.input_ids, keep, strict=True)]


def _asks(sample: Sample) -> bool:
    return bool(sample.messages) and bool(sample.messages[-1].text.strip())
