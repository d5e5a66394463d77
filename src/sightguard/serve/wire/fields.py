"""Which fields of a chat request are taken, ignored or refused: one table, for the code and for the documentation.

What would change the meaning of a request if it were ignored is refused; what would not is ignored; what nobody here knows is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sightguard.data.taxonomy import read_yaml

FILE = Path(__file__).with_name("fields.yaml")


@dataclass(frozen=True, slots=True)
class Refused:
    """A field that this server cannot do as asked."""

    why: str
    neutral: tuple[Any, ...]
    """Values that ask for nothing, null among them."""

    def asks(self, value: object) -> bool:
        """Whether a value of the field asks for something."""
        return not any(_same(value, nothing) for nothing in self.neutral)


@dataclass(frozen=True, slots=True)
class Fields:
    """The table."""

    taken: Mapping[str, str]
    """What each is for."""
    ignored: Mapping[str, str]
    """Why nothing is lost."""
    refused: Mapping[str, Refused]


@cache
def fields() -> Fields:
    """Return the table of fields."""
    table = read_yaml(FILE)
    refused = {name: Refused(row["why"], (None, *row["neutral"])) for name, row in table["refused"].items()}
    return Fields(table["taken"], table["ignored"], refused)


def _same(value: object, other: object) -> bool:
    """Whether two values of JSON are the same, where false is not 0."""
    if isinstance(value, bool) or isinstance(other, bool):
        return value is other
    return value == other
