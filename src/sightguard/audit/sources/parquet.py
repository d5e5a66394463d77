"""Parquet files whose pictures are bytes in a column (as the hub's data sets have them) or paths."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from sightguard.audit.items import Item, Place
from sightguard.audit.sources.columns import PICTURES, Columns, item_of
from sightguard.data.formats.archive import is_pointer
from sightguard.errors import DataError, MissingExtra

ROWS = 1024


def items(path: Path, images: Path | None, columns: Columns) -> Iterator[Item]:
    """Yield the rows of a parquet file; columns of bytes are not read.

    Raises:
        DataError: a git-LFS pointer, no parquet, or no column of pictures.
        MissingExtra: pyarrow is not installed.
    """
    import pyarrow as pa

    table = opened(path)
    column, inside = picture_column(table.schema_arrow, columns, str(path))
    kept = [
        field.name
        for field in table.schema_arrow
        if not (inside and field.name == column) and not holds_bytes(field.type)
    ]
    root = images or path.parent
    number = 0
    try:
        for batch in table.iter_batches(batch_size=ROWS, columns=kept):
            for row in batch.to_pylist():
                yield _item(row, path, number, column if inside else None, root, columns)
                number += 1
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{str(path)!r} cannot be read behind row {number}: {error}. Fetch it again.") from error


def opened(path: Path) -> Any:
    """Return an open parquet file."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtra("pyarrow", "data", "reading parquet") from error
    if is_pointer(path):
        raise DataError(
            f"{str(path)!r} is a git-LFS pointer, not parquet: fetch it with `git lfs pull` or `hf download`."
        )
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{str(path)!r} is no readable parquet file: {error}. Fetch it again.") from error


def picture_column(schema: Any, columns: Columns, where: str) -> tuple[str, bool]:
    """Return the column of pictures, and whether their bytes are in it.

    Raises:
        DataError: there is none.
    """
    for name in columns.pictures(schema.names):
        return name, holds_bytes(schema.field(name).type)
    told = f"--image-column {columns.image}" if columns.image else ", ".join(PICTURES)
    raise DataError(
        f"{where!r} has no column of pictures ({told}); its columns: {', '.join(schema.names)}. Name it with --image-column."
    )


def _item(row: dict[str, Any], path: Path, number: int, inside: str | None, root: Path, columns: Columns) -> Item:
    here = f"{path.stem}/{number}"
    if inside is None:
        return item_of(row, here, columns, lambda name: Place("file", str(root / name), name=name))
    found = item_of({**row, **dict.fromkeys(PICTURES)}, here, columns, lambda name: Place("file", name))
    place = Place("parquet", str(path), number, column=inside, name=f"{path.name}/{number}")
    return replace(found, places=(place,))


def holds_bytes(kind: Any) -> bool:
    """Return whether values of this kind hold encoded pictures: binary, the hub's struct of bytes and path, or a list of either."""
    import pyarrow as pa

    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return holds_bytes(kind.value_type)
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
