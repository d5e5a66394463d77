"""What kinds of risk there are and how grave they can be: the labels of a data set and the classes of a safety head.

A taxonomy is a YAML file:

    schema: 1
    name: psa-vlm
    types: [politics, illegal, insults, fairness, privacy, misleading, safe]
    safe: safe
    levels: [safe, answer carefully, answer or refuse, refuse]

Type `safe` goes with level 0, and every other type with a level above it. The published one (SafeVLM, PSA-VLM) is the default.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import yaml

from sightguard.errors import DataError, UnknownName

SCHEMA = 1
_KEYS = {"schema", "name", "types", "safe", "levels"}


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """Names of risk types and of levels, in the order of the classes of a safety head."""

    name: str
    types: tuple[str, ...]
    levels: tuple[str, ...]
    safe: str

    def __post_init__(self) -> None:
        for what, names in (("types", self.types), ("levels", self.levels)):
            if len(names) < 2 or len(set(names)) != len(names):
                raise DataError(
                    f"the taxonomy {self.name!r} needs at least two distinct {what}; it has {', '.join(names) or 'none'}"
                )
        if self.safe not in self.types:
            raise DataError(
                f"the taxonomy {self.name!r} calls {self.safe!r} the safe type, which is none of its types: {', '.join(self.types)}"
            )

    @property
    def safe_type(self) -> int:
        """The class of what holds no risk."""
        return self.types.index(self.safe)

    @property
    def risks(self) -> tuple[str, ...]:
        """The types that are not safe."""
        return tuple(name for name in self.types if name != self.safe)

    def type_of(self, value: object, where: str = "") -> int:
        """Return the class of a type given by name or number.

        Raises:
            DataError: there is no such type; the message says where the value stood.
        """
        return _index(value, self.types, f"risk type of the taxonomy {self.name!r}", where)

    def level_of(self, value: object, where: str = "") -> int:
        """Return the class of a level given by name or number, as `type_of`."""
        return _index(value, self.levels, f"level of the taxonomy {self.name!r}", where)

    def check(self, type: int, level: int, where: str = "") -> None:
        """Raise DataError where a type and a level do not go together: safe with level 0, every risk with a level above it."""
        if (type == self.safe_type) != (level == 0):
            raise DataError(
                f"{where}type {self.types[type]!r} does not go with level {level} ({self.levels[level]!r}): "
                f"{self.safe!r} goes with level 0, and every other type with 1 to {len(self.levels) - 1}"
            )

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "types": list(self.types),
            "safe": self.safe,
            "levels": list(self.levels),
        }

    @classmethod
    def of(cls, values: object, where: str) -> Self:
        """Build a taxonomy from the data of a YAML or JSON file.

        Raises:
            DataError: an entry is missing, unknown or of the wrong kind.
        """
        if not isinstance(values, dict) or set(values) != _KEYS:
            found = ", ".join(map(str, values)) if isinstance(values, dict) else type(values).__name__
            raise DataError(f"{where} should hold the entries {', '.join(sorted(_KEYS))}; found {found}")
        if values["schema"] != SCHEMA:
            raise DataError(
                f"{where} has format number {values['schema']!r}; this version of Sightguard reads {SCHEMA}"
            )
        for name in ("types", "levels"):
            if not isinstance(values[name], list) or not all(isinstance(entry, str) for entry in values[name]):
                raise DataError(f"{where}: {name!r} should be a list of names; found {values[name]!r}")
        return cls(str(values["name"]), tuple(values["types"]), tuple(values["levels"]), str(values["safe"]))


def read_taxonomy(path: Path | str) -> Taxonomy:
    """Read a taxonomy from a YAML file.

    Raises:
        DataError: the file is missing, no YAML, or no taxonomy; the message says what was expected.
    """
    return Taxonomy.of(read_yaml(Path(path)), str(path))


@cache
def published() -> Taxonomy:
    """Return the taxonomy of the papers: six risk types and safe, four levels.

    Example:
        >>> published().risks
        ('politics', 'illegal', 'insults', 'fairness', 'privacy', 'misleading')
    """
    return read_taxonomy(Path(__file__).with_name("taxonomy.yaml"))


def read_yaml(path: Path) -> Any:
    """Return the data of a YAML file; only plain data is read.

    Raises:
        DataError: the file is missing or no YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {str(path)!r}: {error}. Check the path.") from error
    except yaml.YAMLError as error:
        raise DataError(f"{str(path)!r} is no YAML: {' '.join(str(error).split())}") from error


def _index(value: object, names: tuple[str, ...], kind: str, where: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        if 0 <= value < len(names):
            return value
        raise DataError(f"{where}no {kind} has the number {value}: there are {len(names)}, from 0 ({names[0]!r}) on")
    if isinstance(value, str) and value in names:
        return names.index(value)
    try:
        raise UnknownName(kind, value, names)
    except UnknownName as error:
        raise DataError(f"{where}{error}") from None
