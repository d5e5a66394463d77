"""The folder of an audit: which configuration it is of, which shards are done, and that one process at a time writes to it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightguard.artifacts import LOCK, alone_in, output_folder, read_json, sha256_json, write_json
from sightguard.audit.index import DONE, FOLDER, Index, shard_path
from sightguard.audit.look import ITEMS
from sightguard.errors import OutputError
from sightguard.evaluate.folder import environment

SCHEMA = 1
MANIFEST = "manifest.json"
SUMMARY = "summary.json"
_MINE = (
    MANIFEST,
    LOCK,
    FOLDER,
    DONE,
    ITEMS,
    SUMMARY,
    "audit.html",
    "kept.txt",
    "flagged.txt",
    "unjudged.txt",
)


@dataclass(frozen=True, slots=True)
class AuditFolder:
    """An audit on disk."""

    path: Path
    config: str
    """Digest of its configuration."""

    def missing(self, index: Index, *, retry: bool = False) -> list[int]:
        """Return the shards that have no whole file of this configuration; with `retry` those too in which something is undecided."""
        return [
            number
            for number in index.shards
            if not self._is_done(number, index) or (retry and self._has_undecided(number))
        ]

    def _has_undecided(self, number: int) -> bool:
        import pyarrow.parquet as pq

        return (
            "undecided"
            in pq.read_table(shard_path(self.path / ITEMS, number), columns=["status"])["status"].to_pylist()
        )

    def _is_done(self, number: int, index: Index) -> bool:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = shard_path(self.path / ITEMS, number)
        try:
            told = pq.read_metadata(path)
        except (OSError, pa.ArrowException):
            return False
        return (
            told.num_rows == index.size(number)
            and (told.metadata or {}).get(b"sightguard_config") == self.config.encode()
        )


@contextmanager
def opened(path: Path | str, config: Mapping[str, Any]) -> Iterator[AuditFolder]:
    """Open the folder of an audit, a new one or one to go on with, and keep other processes out of it.

    Args:
        path: the folder.
        config: everything that a row depends on, as JSON.

    Raises:
        OutputError: it holds something else, an audit of another configuration (the message says what differs), or another process
            is at work in it.
    """
    with alone_in(output_folder(path, may_hold=_MINE), "audit") as folder:
        fresh = False
        try:
            _check_same(folder, config)
            fresh = not (folder / MANIFEST).is_file()
            digest = sha256_json(config)
            if fresh:
                told = {"schema": SCHEMA, "config_sha256": digest, "config": dict(config), "environment": environment()}
                write_json(folder / MANIFEST, told)
            yield AuditFolder(folder, digest)
        except BaseException:
            if fresh and not (folder / DONE).is_file():  # nothing was looked at, so there is nothing to go on with
                (folder / MANIFEST).unlink(missing_ok=True)
                shutil.rmtree(folder / FOLDER, ignore_errors=True)
            raise


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of an audit.

    Raises:
        ArtifactError: there is none.
    """
    return read_json(path / MANIFEST, schema=SCHEMA)


def _check_same(folder: Path, config: Mapping[str, Any]) -> None:
    if not (folder / MANIFEST).is_file():
        if any((folder / name).exists() for name in _MINE if name != LOCK):
            raise OutputError(
                f"{str(folder)!r} holds parts of an audit and no {MANIFEST}. Name another folder with --out."
            )
        return
    there, here = _flat(read_manifest(folder)["config"]), _flat(config)
    differing = [
        f"{name}: {there.get(name)!r} there, {here.get(name)!r} now"
        for name in sorted({*there, *here})
        if there.get(name) != here.get(name)
    ]
    if differing:
        raise OutputError(
            f"{str(folder)!r} holds an audit of another configuration: {'; '.join(differing)[:600]}. Name another folder with --out, or go on with "
            "the configuration of before."
        )


def _flat(values: Any, above: str = "") -> dict[str, Any]:
    """Return every single value by its path."""
    if isinstance(values, Mapping):
        return {name: value for key, inner in values.items() for name, value in _flat(inner, f"{above}{key}.").items()}
    return {above.removesuffix("."): list(values) if isinstance(values, tuple) else values}
