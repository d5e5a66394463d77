"""How large a prompt is, guessed from its letters and pictures without a tokenizer."""

from __future__ import annotations

import math

from sightguard.types import Sample

PICTURE_TOKENS = 576
"""Of a picture, as LLaVA-1.5 has it; families differ (docs/families.md)."""
LETTERS = 4.0
"""Letters of a token, roughly, in English."""


def tokens(sample: Sample, pictures: int = 1) -> int:
    """Guess how many tokens a prompt has; with `pictures` 0 it is shown without any."""
    return math.ceil(len(sample.text) / LETTERS) + PICTURE_TOKENS * pictures * len(sample.images)
