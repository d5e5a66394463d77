"""How this model opens its refusals, found from its own answers rather than from a word list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sightguard.errors import ModelError

COMMON = 0.05
"""An opening counts if at least so many harmful requests are answered with it …"""
TELLING = 5.0
"""… and so many times more often than harmless ones."""


def refusal_openings(harmful: Sequence[int], harmless: Sequence[int]) -> frozenset[int]:
    """Return the first tokens that a model opens answers to harmful requests with, and hardly ever others.

    Args:
        harmful: first answer tokens to text-only requests that it should refuse.
        harmless: first answer tokens to text-only requests that it should answer.

    Raises:
        ModelError: it opens both alike, so there is no refusal to bring back.
    """
    bad, good = Counter(harmful), Counter(harmless)
    found = frozenset(
        token
        for token, count in bad.items()
        if count / len(harmful) >= COMMON and count / len(harmful) >= TELLING * good[token] / len(harmless)
    )
    if not found:
        raise ModelError(
            "on text alone this model opens answers to harmful and to harmless anchors alike, so it shows no refusal that a guard "
            "could bring back. VLM-Guard needs a language model that refuses; check the anchors' language and the chat template."
        )
    return found
