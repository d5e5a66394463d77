"""One line of the pocket world, before it becomes a sample or a training pair."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sightguard.pocket.grammar import Request, caption
from sightguard.types import Role

PictureKind = Literal["blank", "noise", "shape", "word", "icon"]
PICTURE_KINDS: tuple[PictureKind, ...] = ("blank", "noise", "shape", "word")
"""The kinds that the pocket models are trained on; icons are for safety heads only."""
Font = Literal["plain", "bold", "tall", "inverted", "italic", "boxed"]
TRAIN_FONTS: tuple[Font, ...] = ("plain", "bold", "tall")
HELD_OUT_FONTS: tuple[Font, ...] = ("italic", "boxed", "inverted")


@dataclass(frozen=True, slots=True)
class Picture:
    """What a drawing shows. `seed` moves it about and changes nothing that matters."""

    kind: PictureKind
    word: str = ""
    """The word that is written, or the object that an icon depicts."""
    shape: str = ""
    colour: str = ""
    seed: int = 0
    font: Font = "plain"
    """How a word is written; it is no part of what is shown."""

    @property
    def caption(self) -> str:
        return caption(self.kind, self.word, self.shape, self.colour)

    @property
    def shown(self) -> str:
        return f"{self.kind}:{self.word or ' '.join((self.colour, self.shape))}".strip()


@dataclass(frozen=True, slots=True)
class Item:
    """A conversation, the picture in its last question if there is one, and what belongs in the answer."""

    text: str
    answer: str
    harmful: bool = False
    kind: str = "chat"
    """For a harmful item what makes it so (object, verb, intent); else the sort of request."""
    task: str = "how-to"
    picture: Picture | None = None
    before: tuple[tuple[Role, str], ...] = ()
    """System message and earlier turns."""
    helpful: str = ""
    """What a model that never refuses would say."""
    names: tuple[str, ...] = ()
    """Words that an answer must hold to have given the harm that was asked for."""
    template: str = ""
    wrapper: str = ""
    request: Request | None = field(default=None, compare=False)

    @property
    def identity(self) -> tuple[str, str]:
        """What makes a prompt distinct: its words, and what the picture shows."""
        earlier = " | ".join(f"{role}: {text}" for role, text in self.before)
        return f"{earlier} | {self.text}", self.picture.shown if self.picture else ""
