"""What the entries of a suite's file must be, checked before anything is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from sightguard.errors import DataError


@dataclass(frozen=True, slots=True)
class Field:
    """One entry: what it is called in a message, whether a value is one, and whether it must be there."""

    expected: str
    holds: Callable[[Any], bool]
    needed: bool = False


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_name(value: Any) -> bool:
    # what an attack found lies in a folder of the setting's name, which must not lead out of the run's
    return _is_text(value) and "\\" not in value and not {"", ".", ".."} & set(value.split("/"))


TEXT = Field("a text", _is_text)
NEEDED = Field("a text", _is_text, needed=True)
COUNT = Field("a whole number from 1 on", _is_count)
TEXTS = Field("a list of texts, such as [blank]", _is_texts)
OBJECT = Field("an object", lambda value: isinstance(value, dict) and all(isinstance(name, str) for name in value))
OBJECTS = Field(
    "a list of objects", lambda value: isinstance(value, list) and all(isinstance(one, dict) for one in value)
)

SETTING: Mapping[str, Field] = {
    "name": Field("a text, such as advbench/blank, that leads to no other folder", _is_name, needed=True),
    "kinds": Field(TEXTS.expected, TEXTS.holds, needed=True),
    "benchmark": TEXT,
    "options": OBJECT,
    "attacks": TEXTS,
    "own": TEXT,
    "limit": COUNT,
}
SUITE: Mapping[str, Field] = {
    "name": NEEDED,
    "title": NEEDED,
    "about": NEEDED,
    "defenses": TEXTS,
    "limit": COUNT,
    "published": OBJECTS,
    "cost": TEXT,
}


def check_fields(values: Mapping[Any, Any], fields: Mapping[str, Field], where: str) -> None:
    """Raise DataError for an entry that is unknown, missing, or of the wrong kind."""
    for name in values:
        if name not in fields:
            near = get_close_matches(str(name), fields, n=1)
            guess = f" Did you mean {near[0]!r}?" if near else ""
            raise DataError(f"{where}: unknown entry {name!r}.{guess} Known: {', '.join(fields)}.")
    for name, field in fields.items():
        if name not in values and field.needed:
            raise DataError(f"{where}: {name!r} is missing; expected {field.expected}")
        if name in values and not field.holds(values[name]):
            raise DataError(f"{where}: {name!r} should be {field.expected}; found {values[name]!r:.80}")
