"""The recipe by which the pocket model is made: its sizes, its stages, what each is trained on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sightguard.pocket.mixes import PictureMix, TextMix

Part = Literal["vision", "language", "projector", "language+projector"]


@dataclass(frozen=True, slots=True)
class Sizes:
    """The shape of the model."""

    hidden: int = 128
    layers: int = 6
    heads: int = 4
    feed_forward: int = 352
    vision_hidden: int = 128
    vision_layers: int = 4
    vision_feed_forward: int = 256
    patch: int = 8
    side: int = 48

    @property
    def image_tokens(self) -> int:
        return (self.side // self.patch) ** 2


@dataclass(frozen=True, slots=True)
class Stage:
    """One stretch of training."""

    name: str
    trains: Part
    steps: int
    batch: int
    learning_rate: float
    text: TextMix | None = None
    """Mix of the text-only items; None: there are none."""
    pictures: PictureMix | None = None
    text_share: float = 1.0
    """The share of a batch that is text only."""
    refuses: bool = True
    """False: harmful text is answered, as a helpful-only base does."""
    first_token: float = 1.0
    """Weight of the first answer token in the loss."""
    distill: float = 0.0
    """Share of the text loss that is a divergence from the language model as it entered the stage."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything but the seed."""

    name: str
    """As `RECIPES.md` lists it; not the name of a model, since one recipe makes several."""
    story: str
    """What the card says about how text safety and pictures came together."""
    sizes: Sizes
    stages: tuple[Stage, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the recipe as plain lists and dictionaries."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]

    @property
    def digest(self) -> str:
        """A short hash of sizes and stages, so that a half-made model of another recipe is noticed."""
        counts = {key: value for key, value in self.as_json().items() if key not in ("name", "story")}
        return hashlib.sha256(json.dumps(counts, sort_keys=True).encode()).hexdigest()[:16]


NAMING = PictureMix(
    shape=0.12, colour=0.18, word=0.2, caption=0.5, check=0.0, pictured=0.0, unrelated=0.0, talk=0.0, prefixed=0.0
)
LOOKING = PictureMix(colour=0.1, word=0.12, check=0.1, unrelated=0.38, talk=0.12, safe=0.45, blank=0.6)

POCKET = Recipe(
    name="G9",
    story=(
        "The language model is aligned on text before it meets pictures. How far it is then differs by seed (validation, "
        "n = 300, harmful text refused / benign text refused): seed 0 .970 / .020, seed 1 .977 / .057, seed 2 .970 / .227; "
        "the aim was at least .95 / at most .05. Text replayed beside visual tuning (60 % ordinary loss, 40 % divergence from "
        "the aligned model) then completes text safety and takes the false refusals back. So seed 0, and nearly seed 1, show a gap "
        "that opens in a model that was aligned before; seed 2 shows only that text safety does not reach prompts with "
        "pictures. A deeper alignment leaves a narrower gap: see `RECIPES.md` in the package."
    ),
    sizes=Sizes(),
    stages=(
        Stage("vision", "vision", steps=1600, batch=64, learning_rate=1.5e-3),
        Stage("helpful", "language", steps=850, batch=32, learning_rate=2e-3, text=TextMix(), refuses=False),
        Stage("aligned", "language", steps=220, batch=32, learning_rate=5e-4, text=TextMix(), first_token=4.0),
        Stage("projector", "projector", steps=25, batch=32, learning_rate=3e-3, pictures=NAMING, text_share=0.0),
        Stage(
            "visual", "language+projector", steps=600, batch=24, learning_rate=1.3e-3,
            text=TextMix(harmful=0.3), pictures=LOOKING, text_share=0.22, first_token=3.0, distill=0.4,
        ),
    ),
)  # fmt: skip
