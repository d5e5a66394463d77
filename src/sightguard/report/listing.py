"""A table whose rows can be filtered and sorted: what the page, the terminal and Markdown show alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sightguard.report.tables import NOTHING, Cell, p_value, rate


@dataclass(frozen=True, slots=True)
class Line:
    """One row: what it is about, by name ("defense", "setting" …), and its cells."""

    about: Mapping[str, str]
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """Rows under columns, with a title and a sentence on what they mean."""

    id: str
    title: str
    note: str
    about: tuple[str, ...]
    """The names of what a row is about that are shown, the first one as the head of the row."""
    columns: tuple[str, ...]
    lines: tuple[Line, ...]


def count(value: int | None) -> Cell:
    """Return a whole number."""
    return Cell(NOTHING) if value is None else Cell(str(value), value=value)


def ratio(value: float | None, digits: int = 2) -> Cell:
    """Return a number with that many digits after the point."""
    return Cell(NOTHING) if value is None else Cell(f"{value:.{digits}f}", value=value)


def share(value: Mapping[str, float] | None, *notes: str) -> Cell:
    """Return a rate in percent with its interval below, and what else is to be said of it.

    Example:
        >>> share({"value": 0.5, "low": 0.444, "high": 0.556}, "inconclusive")
        Cell(text='50.0', note='44.4–55.6, inconclusive')
    """
    cell = rate(value)
    return Cell(cell.text, ", ".join(note for note in (cell.note, *notes) if note), cell.value)


def points(value: Mapping[str, float] | None, *notes: str) -> Cell:
    """Return a difference of two rates in percentage points, signed, with its interval below, and what else is to be said of it.

    Example:
        >>> points({"value": -0.05, "low": -0.1, "high": 0.004})
        Cell(text='−5.0', note='−10.0 to +0.4')
    """
    if value is None:
        return Cell(NOTHING)
    low, middle, high = (signed(100 * value[name]) for name in ("low", "value", "high"))
    return Cell(middle, ", ".join(note for note in (f"{low} to {high}", *notes) if note), value["value"])


def signed(value: float) -> str:
    """Return a number with its sign and one digit after the point; zero has none.

    Example:
        >>> signed(1.25), signed(-0.04), signed(-3)
        ('+1.2', '0.0', '−3.0')
    """
    text = f"{abs(value):.1f}"
    return text if text == "0.0" else f"{'−' if value < 0 else '+'}{text}"


def chance(value: float | None) -> Cell:
    """Return a p-value as it is read."""
    return Cell(p_value(value), value=value)


def values_of(listings: Iterable[Listing], name: str) -> list[str]:
    """Return what rows are about under a name, each once, in the order in which they come."""
    return list(dict.fromkeys(line.about[name] for listing in listings for line in listing.lines if name in line.about))
