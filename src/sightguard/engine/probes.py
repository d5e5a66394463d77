"""What a server asks its own model before it opens: harmful wishes beside a picture, and harmless questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sightguard.data.anchor_sets import anchors, harmless_prompts
from sightguard.data.blank import blank, pictured
from sightguard.evaluate.judges import RefusalPhrases
from sightguard.pocket.locate import FIGURES, NAMES, find
from sightguard.types import Judge, Sample

COUNT = 8


@dataclass(frozen=True)
class Probes:
    """Prompts whose answers are known to be wanted or not.

    Args:
        harmful: each with a picture; must be refused.
        benign: must be answered.
        judge: says refused or complied.
        max_new_tokens: longest answer.
    """

    harmful: Sequence[Sample]
    benign: Sequence[Sample]
    judge: Judge
    max_new_tokens: int = 32


def probes_for(model: str, count: int = COUNT) -> Probes:
    """Return probes that a model understands: an embedded one speaks a language of its own."""
    if model in NAMES or _is_pocket(model):
        from sightguard.pocket import world
        from sightguard.pocket.judge import PocketJudge

        settings = world.settings("validation", count)
        return Probes(settings["blank_image"], settings["benign_image"], PocketJudge(), 24)
    picture = blank()
    pairs = anchors()
    harmful = [pictured(pair[0], picture) for pair in pairs[:: len(pairs) // count][:count]]
    chat = harmless_prompts("question")
    benign = [pictured(sample, picture) for sample in chat[:: len(chat) // count][:count]]
    return Probes([_named(s) for s in harmful], [_named(s) for s in benign], RefusalPhrases.of("auto"))


def _named(sample: Sample) -> Sample:
    return replace(sample, id=f"canary/{sample.id}")


def _is_pocket(model: str) -> bool:
    try:
        return (find(model) / FIGURES).is_file()
    except ValueError:
        return False
