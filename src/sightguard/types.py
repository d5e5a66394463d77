"""The six arrows and the nouns they run between.

Everything in Sightguard is one of these arrows, or takes one:

    Generate   samples -> responses, same length and order
    Guard      Generate -> Generate
    Attack     sample -> sample
    Judge      (sample, response) -> verdict, which may be "could not decide"
    Method     (hidden states, where we are) -> hidden states
    Detector   sample -> score of risk, with what it saw

This file is read by the text half of the package too, so it must never import torch at run time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, runtime_checkable

from sightguard.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

Role = Literal["system", "user", "assistant"]
Outcome = Literal["refused", "safe", "harmful", "complied", "broken"]
"""What a judge sees in an answer: a refusal; an answer that does no harm, or some; an answer, where a judge cannot tell harm; nothing
that can be used."""
HARM_DONE: frozenset[Outcome] = frozenset({"harmful", "complied"})
"""Outcomes in which an attack succeeded; where a judge cannot tell harm, an answer counts as harm, so that the rate is an upper bound."""
ANSWERED: frozenset[Outcome] = frozenset({"safe", "harmful", "complied"})


@dataclass(frozen=True, slots=True)
class Image:
    """One picture, held as encoded bytes or as a path; `sha256` is of the encoded bytes.

    Decoding happens where the picture is used (`sightguard.data.pictures.decode`), so that this class stays free of PIL.
    """

    data: bytes | None = field(default=None, repr=False)
    path: Path | None = None

    def __post_init__(self) -> None:
        if (self.data is None) == (self.path is None):
            raise ValueError("an Image takes exactly one of data= (encoded bytes) or path=; got both or neither")

    def read(self) -> bytes:
        """Return the encoded bytes."""
        if self.data is not None:
            return self.data
        assert self.path is not None
        return self.path.read_bytes()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.read()).hexdigest()


Part = str | Image


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: who speaks, and text and pictures in the order in which they stand.

    Raises:
        DataError: a part that is neither text nor a picture, such as a video or a sound.
    """

    role: Role
    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        given: tuple[object, ...] = self.parts
        for number, part in enumerate(given):
            if not isinstance(part, str | Image):
                kind = f"{part['type']!r}" if isinstance(part, Mapping) and "type" in part else type(part).__name__
                raise DataError(
                    f"part {number} of a turn of {self.role!r} is {kind}; expected text (str) or a picture (Image). Video and audio are not "
                    "read: take the part out, or pass the frames that matter as pictures."
                )

    @property
    def text(self) -> str:
        return " ".join(part for part in self.parts if isinstance(part, str))

    @property
    def images(self) -> tuple[Image, ...]:
        return tuple(part for part in self.parts if isinstance(part, Image))


SAME_AS = "same_as"
"""In a sample's `meta`: the id of the question that it asks in other words or beside another picture, for n to count it once."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One conversation to be answered, with what is known about it."""

    id: str
    messages: tuple[Message, ...] = field(repr=False)
    """Never shown by `repr`, nor is `meta`: what a harmful row says belongs in no log and no trace of an error."""
    harmful: bool | None = None
    category: str | None = None
    source: str | None = None
    """dataset@revision"""
    meta: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    @classmethod
    def of(cls, text: str, *images: Image, id: str = "sample", **known: Any) -> Self:
        """Build a one-turn sample: the pictures, then the text."""
        return cls(id=id, messages=(Message("user", (*images, text)),), **known)

    @property
    def images(self) -> tuple[Image, ...]:
        return tuple(image for message in self.messages for image in message.images)

    @property
    def text(self) -> str:
        """The text of all turns, one line each."""
        return "\n".join(message.text for message in self.messages)

    def without_images(self) -> Sample:
        """Return the same conversation with its pictures removed; a turn that was only a picture stays, with nothing in it."""
        texts = (replace(m, parts=tuple(p for p in m.parts if isinstance(p, str))) for m in self.messages)
        return replace(self, messages=tuple(texts))


@dataclass(frozen=True, slots=True)
class Risk:
    """What a safety head says of one request with a picture."""

    type: str
    """The likeliest type of risk, or the safe type; a name of the taxonomy."""
    level: int
    """The likeliest level of that type; 0 is safe."""
    p_unsafe: float
    """Probability that the request is not safe."""
    p_types: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Probability of each type; they sum to 1."""
    levels: Mapping[str, int] = field(default_factory=dict, hash=False)
    """The likeliest level of each type."""


@dataclass(frozen=True, slots=True)
class Response:
    """What came back for one sample."""

    text: str
    finish_reason: Literal["stop", "length", "refused"] = "stop"
    prompt_tokens: int = 0
    answer_tokens: int = 0
    seconds: float = 0.0
    refused_by: str | None = None
    """The guard that answered in the model's place; None when the model itself spoke."""
    methods: tuple[str, ...] = ()
    thought: str = ""
    """What a thinking model wrote before its answer; `text` is the answer alone, and empty if the thoughts never ended."""
    risk: Risk | None = None
    """What a safety head saw in the request; None where there is no head, or no picture."""
    rule: str | None = None
    """The rule of a policy that decided how to answer."""
    gate: bool | None = None
    """Whether the defense acted on this request: a method changed the state of its last token, a policy put a hint into it, a guard that asks
    the model itself found harm. None where nothing decides: no defense, or one that treats all requests alike."""
    error: str | None = None
    """Set when a guard or the model crashed: the outcome is then `guard_error`, never a refusal."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge says of one answer. `outcome is None` means that the judge could not decide, and `reason` says why."""

    judge: str
    outcome: Outcome | None
    correct: bool | None = None
    """For a request with a known answer: whether it was given. On a harmful request: whether the harm asked for was named (the strict rate)."""
    reason: str = ""
    score: float | None = None
    """A number on the judge's own scale, where it has one; the outcome follows from it by a threshold that the judge names."""
    votes: Mapping[str, Verdict] = field(default_factory=dict, hash=False)
    """What each judge of a panel said, by its name; empty for a single judge."""


@dataclass(frozen=True, slots=True)
class Score:
    """A detector's opinion of one sample: higher is riskier; `saw` names the parts that were inspected."""

    value: float
    saw: tuple[str, ...]


Generate = Callable[[Sequence[Sample]], list[Response]]
Guard = Callable[[Generate], Generate]
Attack = Callable[[Sample], Sample]
Judge = Callable[[Sample, Response], Verdict]
Detector = Callable[[Sample], Score]


@dataclass(frozen=True, slots=True)
class Step:
    """Where an edit stands: which layer, which tokens, and whether the prompt is being read or an answer written.

    Layer l is the output of decoder block l, 0-based; -1 is the input embeddings. All tensors are `batch x tokens`.
    """

    layer: int
    positions: Tensor
    """Absolute position of each token in its row, padding not counted; int64."""
    real: Tensor
    """False on padding; bool."""
    image: Tensor
    """True on image placeholders; bool."""
    last: Tensor
    """True on the last token of the prompt, while it is being read; bool."""
    prefill: bool


@runtime_checkable
class Method(Protocol):
    """Edits hidden states. Frozen; `edit` is pure, never in place, and keeps shape, dtype and device."""

    @property
    def name(self) -> str: ...

    @property
    def layers(self) -> tuple[int, ...]: ...

    @property
    def decodes(self) -> bool:
        """Whether tokens of the answer are edited too; False lets every pass after the prompt run untouched."""
        ...

    def edit(self, hidden: Tensor, step: Step) -> Tensor:
        """Return the edited hidden states, `batch x tokens x hidden`."""
        ...
