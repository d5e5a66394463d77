"""From an item to a pair that can be looked at: bytes, picture, digests; or the reason why not."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from sightguard.audit.inspector import Pair
from sightguard.audit.items import Item, Place
from sightguard.audit.sources import hub_sets, parquet
from sightguard.data.pictures import decode
from sightguard.errors import DataError, MissingExtra, PictureError
from sightguard.types import Image

LARGEST = 256 * 2**20
"""Bytes of one encoded picture above which it is not read."""
_ROW_GROUPS = Lock()


@dataclass(frozen=True, slots=True)
class Read:
    """One item after reading: a pair, or why there is none."""

    item: Item
    status: str
    """"ok", "unreadable", or "no picture"."""
    error: str | None = None
    pair: Pair | None = None
    sha256: str | None = None
    """Of the encoded bytes; of several pictures, of their digests one behind the other."""
    phash: str | None = None
    """Perceptual hash, 16 hexadecimal digits; of several pictures, joined by commas."""


def read(item: Item) -> Read:
    """Read and decode an item's pictures. What is wrong with them is told by the result."""
    if item.error is not None:
        return Read(item, "unreadable", item.error)
    if not item.places:
        return Read(item, "no picture", "the item names no picture, and text alone is not judged")
    sha256 = None
    try:
        images = tuple(Image(data=data) for place in item.places for data in encoded(place))
        digests = [image.sha256 for image in images]
        sha256 = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
        pictures = tuple(decode(image) for image in images)
    except DataError as error:
        return Read(item, "unreadable", _named(item, str(error)), sha256=sha256)
    if not pictures:
        return Read(item, "no picture", "the item holds an empty list of pictures, and text alone is not judged")
    phash = ",".join(perceptual_hash(picture) for picture in pictures)
    return Read(item, "ok", None, Pair(item.id, item.text, images, pictures, item.turns), sha256, phash)


def encoded(place: Place) -> list[bytes]:
    """Return the encoded bytes of the picture at a place, or of several where a cell holds a list.

    Raises:
        PictureError: they are not there, or too many.
    """
    try:
        data = _READERS[place.kind](place)
    except FileNotFoundError:
        raise PictureError(
            "there is no such file; check the path and the folder that names are relative to (--images)"
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise PictureError(f"cannot be read: {reason}") from error
    if longest := max((len(one) for one in data if len(one) > LARGEST), default=0):
        raise PictureError(f"holds {longest:,} bytes; at most {LARGEST:,} are read")
    return data


def perceptual_hash(picture: Any) -> str:
    """Return the 64 bits of `imagehash.phash`, as 16 hexadecimal digits.

    Raises:
        MissingExtra: imagehash is not installed.
    """
    try:
        import imagehash
    except ImportError as error:
        raise MissingExtra("imagehash", "data", "finding near duplicates") from error
    return str(imagehash.phash(picture))


def _file(place: Place) -> list[bytes]:
    if Path(place.path).stat().st_size > LARGEST:
        raise PictureError(f"is a file of {Path(place.path).stat().st_size:,} bytes; at most {LARGEST:,} are read")
    return [Path(place.path).read_bytes()]


def _part(place: Place) -> list[bytes]:
    if place.size > LARGEST:
        raise PictureError(f"holds {place.size:,} bytes; at most {LARGEST:,} are read")
    descriptor = os.open(place.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        file.seek(place.at)
        data = file.read(place.size)
    if len(data) < place.size:
        raise PictureError(f"ends after {len(data):,} of {place.size:,} bytes: the file was cut short. Fetch it again.")
    return [data]


def _parquet(place: Place) -> list[bytes]:
    with _ROW_GROUPS:  # rows stand in order, so one group serves many
        start, column = _row_group(place.path, place.column, *_group_of(place.path, place.at))
    return _bytes_in(column[place.at - start].as_py(), Path(place.path).parent)


def _dataset(place: Place) -> list[bytes]:
    return _bytes_in(hub_sets.opened(place.path)[place.at][place.column], Path())


@lru_cache(maxsize=64)
def _bounds(path: str) -> tuple[int, ...]:
    told = parquet.opened(Path(path)).metadata
    ends = [0]
    for group in range(told.num_row_groups):
        ends.append(ends[-1] + told.row_group(group).num_rows)
    return tuple(ends)


def _group_of(path: str, row: int) -> tuple[int, int]:
    bounds = _bounds(path)
    group = next(i for i, end in enumerate(bounds[1:]) if row < end)
    return group, bounds[group]


@lru_cache(maxsize=2)
def _row_group(path: str, column: str, group: int, start: int) -> tuple[int, Any]:
    return start, parquet.opened(Path(path)).read_row_group(group, columns=[column]).column(0)


def _bytes_in(value: Any, root: Path) -> list[bytes]:
    """Return the bytes of a cell: binary, the hub's struct, or a list of these."""
    if isinstance(value, list):
        return [data for one in value for data in _bytes_in(one, root)]
    if isinstance(value, dict):
        if value.get("bytes") is None and value.get("path"):
            return _file(Place("file", str(root / value["path"])))
        value = value.get("bytes")
    if not isinstance(value, bytes):
        raise PictureError(f"the cell holds no bytes of a picture: {type(value).__name__}")
    return [value]


def _named(item: Item, reason: str) -> str:
    """Say which picture: `decode` knows only bytes, and the readers only the reason."""
    names = ", ".join(place.shown for place in item.places)
    return f"{names}: {reason.removeprefix('the picture given as bytes ')}"


_READERS = {"file": _file, "part": _part, "parquet": _parquet, "dataset": _dataset}
