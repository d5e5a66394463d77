"""Fits a guard on a model of the user's own: directions on one half of the anchors, parameters chosen on the other."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sightguard.data.blank import blank
from sightguard.errors import UsageError
from sightguard.steering.choose import FINALISTS, Choice, choose
from sightguard.steering.vlm_guard import VlmGuard
from sightguard.types import Image, Sample

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM
    from sightguard.types import Judge

FEWEST = 8


def fit_and_choose(
    vlm: VLM,
    pairs: Sequence[tuple[Sample, Sample]],
    judge: Judge,
    *,
    benign: Sequence[Sample] = (),
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    finalists: int = FINALISTS,
    progress: Callable[[str, int, int], None] | None = None,
) -> Choice:
    """Fit VLM-Guard on (harmful, harmless) pairs and choose its parameters; no prompt is used for both.

    The choice is made on the other half of the pairs: harmful ones with a blank picture must be refused; harmless ones with it
    and without it, and `benign`, must still be answered.

    Args:
        vlm: the model.
        pairs: matched anchors, at least 8.
        judge: says refused or complied.
        benign: further prompts that must be answered, with or without pictures.
        seed: of the split of the pairs.
        finalists: candidates that answer in full.
        options: fields of VlmGuard that stay as given (reference, kind, gate, phase, …).
        progress: called with (stage, done, total).
    """
    if len(pairs) < FEWEST:
        raise UsageError(
            f"choosing parameters needs at least {FEWEST} pairs, half to fit and half to choose on; got {len(pairs)}"
        )
    shuffled = list(pairs)
    random.Random(seed).shuffle(shuffled)
    half = len(shuffled) // 2
    fitted, held_out = shuffled[:half], shuffled[half:]
    guards = VlmGuard.fit_each(vlm, fitted, provenance={"half": half, "seed": seed}, **(options or {}))
    picture = blank()
    return choose(
        vlm,
        guards,
        harmful=[pictured(harmful, picture) for harmful, _ in held_out],
        benign={
            "text": [good for _, good in held_out],
            "blank picture": [pictured(good, picture) for _, good in held_out],
            **({"own": benign} if benign else {}),
        },
        judge=judge,
        anchors=fitted,
        finalists=finalists,
        progress=progress,
    )


def pictured(sample: Sample, image: Image) -> Sample:
    """Return the sample with `image` before the text of its last turn."""
    *earlier, last = sample.messages
    return replace(sample, id=f"{sample.id}+picture", messages=(*earlier, replace(last, parts=(image, *last.parts))))
