"""WebDataset shards: tar files whose members of one key, up to the first dot, are one item. Members are found once and then read in place."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from sightguard.audit.items import Item, Place
from sightguard.audit.sources.columns import Columns, item_of
from sightguard.data.formats.archive import SUFFIXES, is_pointer
from sightguard.errors import DataError

WORDS = (".txt", ".caption", ".text")
LONGEST = 16 * 2**20
"""Bytes of a text or JSON member above which it is not read."""


def items(path: Path, columns: Columns) -> Iterator[Item]:
    """Yield the items of a tar file.

    Raises:
        DataError: it is a git-LFS pointer, compressed, or no tar.
    """
    if is_pointer(path):
        raise DataError(
            f"{str(path)!r} is a git-LFS pointer, not a tar: fetch it with `git lfs pull` or `hf download`."
        )
    try:
        with tarfile.open(path, "r:") as tar:
            members = (member for member in tar if member.isfile())
            for key, group in groupby(members, key=lambda member: _split(member.name)[0]):
                yield _item(path, key, list(group), tar, columns)
                _forget(tar)
    except tarfile.TarError as error:
        raise DataError(
            f"{str(path)!r} is no readable tar: {error}. Fetch it again; a compressed one (.tar.gz) has to be unpacked to .tar first, since its "
            "members cannot be read in place."
        ) from error


def _forget(tar: Any) -> None:
    """Drop the list of members that a tar keeps, which grows with the file; what follows is still found."""
    tar.members = []


def _item(path: Path, key: str, members: list[tarfile.TarInfo], tar: tarfile.TarFile, columns: Columns) -> Item:
    places: list[Place] = []
    row: dict[str, object] = {}
    errors: list[str] = []
    for member in members:
        ending = _split(member.name)[1].lower()
        if ending.endswith(SUFFIXES):
            places.append(Place("part", str(path), member.offset_data, member.size, name=f"{path.name}/{member.name}"))
        elif ending.endswith((".json", *WORDS)):
            try:
                row |= _told(tar, member, ending)
            except ValueError as wrong:
                errors.append(f"{member.name}: {wrong}")
    found = item_of({**row, "image": None}, key, columns, lambda name: Place("file", name))
    error = "; ".join([*errors, *([found.error] if found.error else [])]) or None
    return replace(found, places=tuple(places), error=error)


def _told(tar: tarfile.TarFile, member: tarfile.TarInfo, ending: str) -> dict[str, object]:
    if member.size > LONGEST:
        raise ValueError(f"{member.size:,} bytes of text; at most {LONGEST:,} are read")
    file = tar.extractfile(member)
    text = (file.read() if file else b"").decode("utf-8-sig")
    if ending.endswith(WORDS):
        return {"text": text}
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object; got {type(value).__name__}")
    return value


def _split(name: str) -> tuple[str, str]:
    """Return key and ending, as WebDataset splits them: at the first dot of the last part of the path."""
    path = PurePosixPath(name)
    stem, dot, ending = path.name.partition(".")
    return (str(path.parent / stem) if str(path.parent) != "." else stem), f"{dot}{ending}"
