"""An item of a data set before anything of it is read: what it is called, what is written, and where its pictures lie."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, overload

if TYPE_CHECKING:
    import pyarrow as pa


class Place(NamedTuple):
    """Where the encoded bytes of one picture lie."""

    kind: str
    """"file": the file `path`. "part": `size` bytes of the file `path`, from byte `at`. "parquet": row `at` of the file `path`, in `column`.
    "dataset": row `at` of the data set that `path` describes, in `column`."""
    path: str
    at: int = 0
    size: int = 0
    column: str = ""
    name: str = ""
    """How it is called in reports; empty: `path`."""

    @property
    def shown(self) -> str:
        return self.name or self.path


@dataclass(frozen=True, slots=True)
class Item:
    """One image-text pair as a source finds it."""

    id: str
    text: str = ""
    """The words beside the pictures."""
    places: tuple[Place, ...] = ()
    licence: str | None = None
    label: str | None = None
    """The data set's own label, as JSON."""
    error: str | None = None
    """Why it cannot be read, if that is known already."""
    turns: tuple[str, ...] = ()
    """The same words turn by turn, where they are several; empty where they are one text."""


def schema() -> pa.Schema:
    """Return the columns of an index."""
    import pyarrow as pa

    text = pa.string()
    # a file's name need not be text
    place = pa.struct(
        [
            ("kind", text),
            ("path", pa.binary()),
            ("at", pa.int64()),
            ("size", pa.int64()),
            ("column", text),
            ("name", text),
        ]
    )
    return pa.schema(
        [
            ("row", pa.int64()),
            ("id", text),
            ("text", text),
            ("places", pa.list_(place)),
            ("licence", text),
            ("label", text),
            ("error", text),
            ("turns", pa.list_(text)),
        ]
    )


def to_table(first: int, items: Sequence[Item]) -> pa.Table:
    """Return items as rows of an index, numbered from `first`."""
    import pyarrow as pa

    rows = [
        {
            "row": first + i,
            "id": item.id,
            "text": printable(item.text),
            "places": [_stored(place) for place in item.places],
            "licence": printable(item.licence),
            "label": printable(item.label),
            "error": printable(item.error),
            "turns": [printable(turn) for turn in item.turns],
        }
        for i, item in enumerate(items)
    ]
    return pa.Table.from_pylist(rows, schema())


@overload
def printable(text: str) -> str: ...
@overload
def printable(text: str | None) -> str | None: ...
def printable(text: str | None) -> str | None:
    """Return a text that UTF-8 can hold: what it cannot, such as half of a surrogate pair, is written as an escape."""
    return text if text is None else text.encode("utf-8", "backslashreplace").decode()


def _stored(place: Place) -> dict[str, Any]:
    return {**place._asdict(), "path": os.fsencode(place.path), "name": printable(place.name)}


def from_rows(rows: Iterable[Mapping[str, Any]]) -> list[Item]:
    """Return the items of rows of an index."""
    return [
        Item(
            row["id"],
            row["text"],
            tuple(Place(**{**place, "path": os.fsdecode(place["path"])}) for place in row["places"]),
            row["licence"],
            row["label"],
            row["error"],
            tuple(row.get("turns") or ()),  # an index of an older version has none
        )
        for row in rows
    ]
