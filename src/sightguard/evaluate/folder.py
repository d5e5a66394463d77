"""The folder of one run: `manifest.json` says what was to be done, `samples.jsonl` holds one line per answer.

A line is whole or it is dropped: what a killed process left of its last line is cut off when the run goes on.
"""

from __future__ import annotations

import errno
import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from sightguard.artifacts import write_text
from sightguard.errors import DataError, OutputError
from sightguard.evaluate.rows import Row
from sightguard.evaluate.unlike import unlike

SCHEMA = 1
MANIFEST = "manifest.json"
SAMPLES = "samples.jsonl"
ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run on disk."""

    path: Path

    @classmethod
    def open(cls, path: Path, manifest: Mapping[str, Any], *, resume: bool) -> RunFolder:
        """Start a run in `path`, or go on with the one that is there.

        Raises:
            OutputError: not a folder, not writable, or it holds a run that is not to be resumed or is another one.
        """
        folder = cls(path)
        wanted = {"schema": SCHEMA, **manifest, ENVIRONMENT: environment()}
        if folder._holds_run():
            folder._check_same(wanted, resume=resume)
            folder._cut_torn_line()
            return folder
        try:
            path.mkdir(parents=True, exist_ok=True)
            write_whole(path / MANIFEST, json.dumps(wanted, indent=2, ensure_ascii=False) + "\n")
        except OSError as error:
            raise OutputError(
                f"cannot write the run to {str(path)!r}: {error.strerror or error}. Choose another folder."
            ) from error
        return folder

    @property
    def manifest(self) -> dict[str, Any]:
        """What the run was to do."""
        path = self.path / MANIFEST
        try:
            manifest = json.loads(path.read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise DataError(
                f"no run in {str(self.path)!r}: expected a folder with {MANIFEST}. Check the path."
            ) from None
        except OSError as error:
            raise DataError(f"cannot read {str(path)!r}: {error.strerror}. Check who may read it.") from None
        except ValueError as error:
            raise DataError(f"{str(path)!r} is not JSON: {error}. Delete the folder and run again.") from None
        if not isinstance(manifest, dict):
            raise DataError(f"{str(path)!r} should hold an object; found {type(manifest).__name__}")
        return dict(manifest)

    def rows(self) -> list[Row]:
        """Return all whole lines, in the order in which they were written.

        Raises:
            DataError: a line that is not the last one is damaged.
        """
        return list(self.stream())

    def stream(self) -> Iterator[Row]:
        """Yield what `rows` returns, one at a time: what a run answered need not fit into memory."""
        path = self.path / SAMPLES
        if not path.exists():
            return
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    return  # torn: whoever wrote it was killed
                try:
                    row = Row.from_line(line.decode("utf-8"))
                except ValueError as error:
                    raise DataError(
                        f"{str(path)!r}, line {number} is damaged: {error}. Delete the line and resume."
                    ) from None
                yield row

    def append(self, rows: Iterable[Row]) -> None:
        """Write whole lines and hand them to the operating system before returning."""
        with (self.path / SAMPLES).open("ab") as file:
            file.write("".join(row.to_line() for row in rows).encode("utf-8"))

    def _holds_run(self) -> bool:
        return (self.path / MANIFEST).exists() or (self.path / SAMPLES).exists()

    def _check_same(self, wanted: Mapping[str, Any], *, resume: bool) -> None:
        where = repr(str(self.path))
        if not resume:
            raise OutputError(f"{where} already holds a run. Choose another folder, or resume it.")
        # as it will look when it is read back: JSON knows no tuples
        told = json.loads(json.dumps(wanted))
        differing = unlike({**self.manifest, ENVIRONMENT: told[ENVIRONMENT]}, told)
        if differing:
            raise OutputError(
                f"{where} holds another run, which differs in {differing}. Choose another folder, or run the command that began it."
            )

    def _cut_torn_line(self) -> None:
        path = self.path / SAMPLES
        if path.exists():
            with path.open("rb") as file:
                whole = sum(len(line) for line in file if line.endswith(b"\n"))
            os.truncate(path, whole)


def environment() -> dict[str, str | None]:
    """Return the versions that answers depend on; None for what is not installed. Nothing is imported for it."""
    versions: dict[str, str | None] = {"python": platform.python_version(), "platform": platform.platform()}
    for package in ("sightguard", "torch", "transformers", "numpy", "pillow"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there completely or not at all, into a folder that exists.

    Raises:
        OSError: it cannot be written. The system's own error, so that the caller can say what it was to be.
    """
    if not path.parent.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "no folder", str(path.parent))
    try:
        write_text(path, text)
    except OutputError as error:
        raise error.__cause__ or error from None
