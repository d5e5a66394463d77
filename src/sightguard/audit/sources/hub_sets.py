"""Data sets of the Hugging Face hub, by id and revision, and those that `datasets` saved to a folder; read row by row from its files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from sightguard.audit.items import Item, Place
from sightguard.audit.sources.columns import PICTURES, Columns, item_of
from sightguard.audit.sources.parquet import holds_bytes
from sightguard.errors import DataError, MissingExtra

SAVED = "state.json"
"""What marks a folder that `save_to_disk` made."""


def describe(source: str, split: str | None, revision: str | None) -> str:
    """Return what `opened` needs, as one text."""
    return json.dumps({"source": source, "split": split, "revision": revision}, sort_keys=True)


def items(source: str, described: str, columns: Columns) -> Iterator[Item]:
    """Yield the rows of a data set.

    Raises:
        DataError: it cannot be loaded, or has no column of pictures.
        MissingExtra: `datasets` is not installed.
    """
    rows = opened(described)
    column = next(iter(columns.pictures(rows.column_names)), None)
    if column is None:
        raise DataError(
            f"{source!r} has no column of pictures; its columns: {', '.join(rows.column_names)}. Name it with --image-column."
        )
    stem = Path(source).name
    inside = holds_bytes(rows.features.arrow_schema.field(column).type)
    words = rows.remove_columns(column) if inside else rows
    for number, row in enumerate(words):
        if not inside:
            yield item_of(row, f"{stem}/{number}", columns, lambda name: Place("file", name))
            continue
        found = item_of(
            {**row, **dict.fromkeys(PICTURES)}, f"{stem}/{number}", columns, lambda name: Place("file", name)
        )
        place = Place("dataset", described, number, column=column, name=f"{stem}/{number}")
        yield replace(found, places=(place,))


@lru_cache(maxsize=8)
def opened(described: str) -> Any:
    """Return a data set whose pictures are not decoded.

    Raises:
        DataError: there is none, or it has several splits and none was named.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra("datasets", "data", "reading a data set of the hub") from error
    told = json.loads(described)
    source, split = told["source"], told["split"]
    try:
        if (Path(source) / SAVED).is_file() or (Path(source) / "dataset_dict.json").is_file():
            found = datasets.load_from_disk(source)
        else:
            found = datasets.load_dataset(source, revision=told["revision"])
    except Exception as error:  # the library and the transport below have errors of many kinds
        raise DataError(
            f"no file or folder {source!r} is here, and as a data set of the hub it cannot be loaded: {' '.join(str(error).split())[:300]}. Check "
            "name, revision and network; a folder that `datasets` saved is read too."
        ) from error
    rows = _split_of(found, split, source)
    for name, feature in rows.features.items():
        if (encoded := _encoded(feature)) is not None:
            rows = rows.cast_column(name, encoded)
    return rows


def _encoded(feature: Any) -> Any:
    """Return a column of pictures, or of lists of them, as one that is not decoded; None for other columns."""
    import datasets

    if isinstance(feature, datasets.Image):
        return datasets.Image(decode=False)
    if isinstance(feature, datasets.List) and (inner := _encoded(feature.feature)) is not None:
        return datasets.List(inner)
    return None


def _split_of(found: Any, split: str | None, source: str) -> Any:
    if hasattr(found, "column_names") and not isinstance(found, dict):
        return found
    names = list(found)
    if split is None and len(names) == 1:
        split = names[0]
    if split not in names:
        raise DataError(f"{source!r} has the splits {', '.join(names)}; name one of them with --split (got {split!r})")
    return found[split]
