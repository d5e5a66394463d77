"""What is said where the guard answers in the model's place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Reason = Literal["guard_error", "not_inspected", "moderation_block"]
"""Stands as `rule` in the block of such an answer."""
WORDS: Mapping[Reason, str] = {
    "guard_error": "I can't answer this: the check that every request goes through did not finish.",
    "not_inspected": "I can't answer this: a part of the request could not be inspected.",
    "moderation_block": "I can't help with this: the request was flagged, and it asked to be blocked in that case.",
}
