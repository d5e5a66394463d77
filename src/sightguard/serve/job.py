"""One request on its way through the server: what is asked, how it is decoded, what comes back, and who answers.

    HTTP -> Job -> queue -> Engine.answer(batch of jobs) -> events -> HTTP

An engine runs in a thread of its own and speaks to each job by `Job.tell`; the web half never waits for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from sightguard.types import Risk, Sample

Trouble = Literal["bad_request", "context_length", "deadline", "out_of_memory", "guard_error", "cancelled", "closing"]
"""Why a job has no answer. The first two are the client's; `guard_error` is answered as a refusal; `closing`: the
server ends."""
Finish = Literal["stop", "length"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How one answer is decoded; a batch may hold answers that are decoded differently."""

    max_tokens: int
    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    top_logprobs: int = 0


@dataclass(frozen=True, slots=True)
class GuardId:
    """What stands between the client and the model: its name, and a digest of the files that it was read from."""

    id: str
    sha256: str


@dataclass(frozen=True, slots=True)
class LayerGate:
    """The gate at one layer."""

    layer: int
    score: float
    threshold: float
    fired: bool


@dataclass(frozen=True, slots=True)
class Proof:
    """What the guard saw of one request, as it was measured while the request was read."""

    inspected: Mapping[str, int]
    """Parts by kind, "text" and "image", that the guard looked at."""
    methods: tuple[str, ...] = ()
    risk: Risk | None = None
    """Of the safety head; None where there is no head, or no picture."""
    rule: str | None = None
    """The rule of a policy that decided how to answer."""
    gate: tuple[LayerGate, ...] = ()
    """Of a steering method that has a gate."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """One token that could have stood in a place, with its log probability."""

    token: str
    bytes: tuple[int, ...]
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """The log probability of a token that was written, before temperature and top_p, and of the likeliest ones there."""

    chosen: Alternative
    top: tuple[Alternative, ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """Some more text of the answer."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """The answer is whole: the pieces, joined, are its text."""

    finish: Finish
    prompt_tokens: int
    answer_tokens: int


@dataclass(frozen=True, slots=True)
class Failed:
    """There is no answer, or none that may leave."""

    trouble: Trouble
    message: str


Event = Proof | Piece | Done | Failed
"""In this order: one `Proof`, before any text; pieces; then `Done` or `Failed`, once. `Failed` may come at any time before."""


@dataclass(eq=False, slots=True)
class Job:
    """One request for an answer."""

    id: str
    sample: Sample = field(repr=False)
    decoding: Decoding
    tell: Callable[[Event], None] = field(repr=False)
    """Called from the engine's thread; must not block."""
    deadline: float = float("inf")
    """`time.monotonic` after which nobody waits."""
    stream: bool = False
    """Tell pieces as they are written; otherwise one piece, when the answer is whole."""
    plain: bool = False
    """Without the guard: only the playground's comparison on loopback, counted as a bypass."""
    pixels: int = 0
    """Of all pictures, as they count for a batch."""
    gone: threading.Event = field(default_factory=threading.Event, repr=False)
    """Set when the client left."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the guard's own inspectors say of one input that nobody wants answered."""

    inspected: Mapping[str, int]
    risk: Risk | None = None
    gate: tuple[LayerGate, ...] = ()


def no_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: Python's, or a device's, which is told by its name and its words."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "out of memory" in str(error).lower()
    )


class Engine(Protocol):
    """A guarded model that answers batches of jobs."""

    @property
    def name(self) -> str:
        """The model, as clients call it."""
        ...

    @property
    def guard(self) -> GuardId: ...

    @property
    def batch(self) -> int:
        """Jobs at once, at most."""
        ...

    @property
    def rules(self) -> tuple[str, ...]:
        """Names of the rules by which a policy decides; none without a policy."""
        ...

    def check(self, sample: Sample) -> None:
        """Raise DataError where a text would inject a picture, a turn or a token into the prompt."""
        ...

    def answer(self, jobs: Sequence[Job]) -> None:
        """Answer all; every job is told `Done` or `Failed` before this returns, whatever happens to the others."""
        ...

    def inspect(self, samples: Sequence[Sample]) -> list[Inspection]:
        """Look, and answer nothing.

        Raises:
            DataError: a sample that cannot be read; the message names it.
        """
        ...
