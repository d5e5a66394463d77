"""Categories of moderation: OpenAI's 13, and the types of risk of our own inspectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sightguard.data.taxonomy import read_yaml

FILE = Path(__file__).with_name("categories.yaml")
RISK = "sightguard/risk/"
"""Stands before a type of risk, because some types are called as standard categories are."""
UNSAFE = "sightguard/unsafe"
"""The safety head finds that the request is not safe, whatever the type."""
REQUEST = "sightguard/harmful_request"
"""The gate of a steering method fired."""


@dataclass(frozen=True, slots=True)
class Categories:
    """The table."""

    standard: Mapping[str, tuple[str, ...]]
    """OpenAI's keys, and the kinds of input that each is defined for."""
    keys: Mapping[str, tuple[str, ...]]
    """Standard keys of each type of risk; a type that stands nowhere has none."""
    why: Mapping[str, str]


@cache
def categories() -> Categories:
    """Return the table of categories."""
    table = read_yaml(FILE)
    types = table["types"]
    return Categories(
        standard={key: tuple(kinds) for key, kinds in table["standard"].items()},
        keys={name: tuple(row["keys"]) for name, row in types.items()},
        why={name: row["why"] for name, row in types.items()},
    )
