"""Who looks at pairs: the safety head of a SafeVLM, a guard model, an endpoint. Each is an `Inspector`.

An inspector names its own taxonomy, and its answers are in that taxonomy's words. `prepare` runs in reading threads, one pair at a time,
while `inspect` runs in one thread on a batch of what they made: scaling pictures belongs in the first, and then no more than one picture
is held at full size by each thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import PIL.Image

    from sightguard.data.taxonomy import Taxonomy
    from sightguard.types import Image


@dataclass(frozen=True, slots=True)
class Pair:
    """One image-text pair, read and decoded."""

    id: str
    text: str
    """The words beside the pictures: the user's turns, or a caption; may be empty."""
    images: tuple[Image, ...]
    """As encoded bytes."""
    pictures: tuple[PIL.Image.Image, ...]
    """The same decoded: upright, RGB."""
    turns: tuple[str, ...] = ()
    """The words turn by turn, where they are several turns of the user; empty where they are one text."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What an inspector says of one pair; with `error` set it could not decide, and says why."""

    type: str | None = None
    """A name of the taxonomy."""
    level: int | None = None
    p_types: Mapping[str, float] = field(default_factory=dict)
    """Probability of each type; empty where the inspector tells none. They sum to 1 where one type excludes the others, as for a safety head;
    a guard that asks of each risk by itself gives one number for each, and their sum means nothing."""
    p_levels: tuple[float, ...] = ()
    """Probability of each level; empty where the inspector tells none. They sum to 1."""
    p_unsafe: float | None = None
    """Probability that the pair is not safe; 0 or 1 from an inspector that decides and tells no probability."""
    note: str | None = None
    """What else it said, in its taxonomy's words: the further types of a guard that names several."""
    error: str | None = None


class Inspector(Protocol):
    """Looks at pairs and says what risk is in each."""

    @property
    def taxonomy(self) -> Taxonomy: ...

    @property
    def batch(self) -> int:
        """Pairs that are inspected in one pass."""
        ...

    def about(self) -> dict[str, Any]:
        """Return what it is, as JSON: what a run that is taken up again must have in common with the one before."""
        ...

    def prepare(self, pair: Pair) -> Any:
        """Make a pair ready for the model; called from several threads."""
        ...

    def inspect(self, prepared: Sequence[Any]) -> list[Finding]:
        """Return a finding for each of what `prepare` returned, in their order."""
        ...


class Maker(Protocol):
    """Makes an inspector; plain data, so that another process can do it too."""

    def make(self) -> Inspector: ...
