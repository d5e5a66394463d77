"""Keeps test prompts out of fitting and choosing."""

from __future__ import annotations

from collections.abc import Iterable

from sightguard.errors import DataError
from sightguard.types import Sample

TEST = "/test"
"""How `Sample.source` ends where a prompt belongs to a test split."""


def refuse_test(samples: Iterable[Sample], purpose: str) -> None:
    """Raise DataError if a sample comes from a test split.

    Args:
        samples: what is about to be used.
        purpose: what for, for the message ("fitting").
    """
    for sample in samples:
        if (sample.source or "").endswith(TEST):
            raise DataError(
                f"sample {sample.id!r} comes from a test split ({sample.source}) and cannot be used for {purpose}: a figure measured on it "
                "would no longer be held out. Use train or validation prompts."
            )
