"""How often a defense asks the model for an answer to one prompt."""

from __future__ import annotations

import math
from collections.abc import Mapping

CALLS: Mapping[str, tuple[int, int]] = {
    "ecso": (2, 4),
    "ecso_always_caption": (2, 2),
    "vlm_guard_caption": (2, 2),
}
"""Beside a picture, at least and at most; once where it is not named, and where there is no picture."""


def calls(defense: str, *, pictured: bool) -> tuple[int, int]:
    """Return the answers that a defense, or a stack of them, asks for: at least, and at most.

    Example:
        >>> calls("self_reminder+ecso", pictured=True), calls("ecso", pictured=False)
        ((2, 4), (1, 1))
    """
    parts = [CALLS.get(name.strip(), (1, 1)) for name in defense.split("+")] if pictured else []
    return math.prod(low for low, _ in parts), math.prod(high for _, high in parts)
