"""Finds the folders of the models that ship inside the package; loads nothing."""

from __future__ import annotations

from pathlib import Path

from sightguard.errors import UnknownName

NAMES: tuple[str, ...] = ("pocket", "pocket-1", "pocket-2")


def folder(name: str) -> Path:
    """Return the folder of a shipped model.

    Raises:
        UnknownName: there is no such model in the package.
    """
    path = Path(__file__).parent / "weights" / name
    if name not in NAMES or not (path / "config.json").is_file():
        raise UnknownName("shipped model", name, NAMES)
    return path
