"""The scale of a judge's score, which a mean of scores says nothing without. A judge that has one names it as its attribute `scale`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sightguard.evaluate.many import name_of


@dataclass(frozen=True, slots=True)
class Scale:
    """From where to where a score goes, and what it says."""

    lowest: float
    highest: float
    says: str
    harmless: bool = True
    """Whether it says anything of an answer to a request that is labelled harmless; otherwise those are in no mean."""


def scales(judge: object) -> dict[str, Scale]:
    """Return the scales of a judge, or of the judges of a panel, by name; those that have none are left out."""
    judges: Iterable[object] = getattr(judge, "judges", None) or [judge]
    found = {name_of(one): getattr(one, "scale", None) for one in judges}
    return {name: scale for name, scale in found.items() if isinstance(scale, Scale)}
