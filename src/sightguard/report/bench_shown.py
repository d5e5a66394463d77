"""How a reader sees a defense, and a figure of which too little is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

INCONCLUSIVE = "inconclusive"


def shown(results: Mapping[str, Any], defense: str) -> str:
    """Return how a reader sees a defense: by its name, and the undefended model as such."""
    return f"{defense} (undefended)" if defense == results["baseline"] else defense


def mark(part: Mapping[str, Any] | None) -> str:
    """Return the word for a figure or a test of which too little is known."""
    return INCONCLUSIVE if part and part.get("inconclusive") else ""
