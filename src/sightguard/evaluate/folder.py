"""The folder of one run: `manifest.json` says what was to be done, `samples.jsonl` holds one line per answer.

A line is whole or it is dropped: what a killed process left of its last line is cut off when the run goes on.
"""

from __future__ import annotations

import errno
import json
import os
import platform
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from sightguard.artifacts import json_text, write_text
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
        if folder.holds_run():
            if not resume:
                raise OutputError(f"{str(path)!r} already holds a run. Choose another folder, or resume it.")
            folder.check(manifest)
            folder._cut_torn_line()
            return folder
        folder._write({"schema": SCHEMA, **manifest, ENVIRONMENT: environment()})
        return folder

    def check(self, told: Mapping[str, Any], later: Collection[str] = ()) -> None:
        """Compare what is known so far with the run that is there, if there is one; nothing is written.

        Args:
            told: of the manifest, as much as is known.
            later: places such as "about.seed" that do not count where only one of both tells them.

        Raises:
            OutputError: another run; the message says what differs.
        """
        if not self.holds_run():
            return
        # as it will look when it is read back: JSON knows no tuples
        here = json.loads(json.dumps({"schema": SCHEMA, **told}))
        there = {name: value for name, value in self.manifest.items() if name != ENVIRONMENT}
        for place in later:
            if (_at(there, place) is None) != (_at(here, place) is None):
                there, here = _without(there, place), _without(here, place)
        if differing := unlike(there, here):
            raise OutputError(
                f"{str(self.path)!r} holds another run, which differs in {differing}. Choose another folder, or run the command that began it."
            )

    def complete(self, told: Mapping[str, Any], later: Collection[str] = ()) -> None:
        """Write what is known so far, as the manifest or into it, before more is known; arguments and errors as for `check`.

        Raises:
            OutputError: it cannot be written.
        """
        self.check(told, later)
        began = self.manifest if self.holds_run() else {"schema": SCHEMA, ENVIRONMENT: environment()}
        whole = _joined(began, json.loads(json.dumps(told)))
        if whole != began:
            self._write(whole)

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

    def holds_run(self) -> bool:
        """Return whether a run has begun here."""
        return (self.path / MANIFEST).exists() or (self.path / SAMPLES).exists()

    def _write(self, manifest: Mapping[str, Any]) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_whole(self.path / MANIFEST, json_text(manifest, indent=2) + "\n")
        except OSError as error:
            raise OutputError(
                f"cannot write the run to {str(self.path)!r}: {error.strerror or error}. Choose another folder."
            ) from error

    def _cut_torn_line(self) -> None:
        path = self.path / SAMPLES
        if path.exists():
            with path.open("rb") as file:
                whole = sum(len(line) for line in file if line.endswith(b"\n"))
            os.truncate(path, whole)


def _at(values: Mapping[str, Any], place: str) -> Any:
    """Return what stands at "about.seed"; None where there is nothing."""
    name, _, rest = place.partition(".")
    found = values.get(name)
    return found if not rest else _at(found, rest) if isinstance(found, Mapping) else None


def _without(values: Mapping[str, Any], place: str) -> dict[str, Any]:
    name, _, rest = place.partition(".")
    found = values.get(name)
    kept = {key: value for key, value in values.items() if key != name}
    return {**kept, name: _without(found, rest)} if rest and isinstance(found, Mapping) else kept


def _joined(there: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, Any]:
    """Return both, where they agree on what both tell."""
    both = {
        name: _joined(there[name], value)
        if isinstance(there.get(name), Mapping) and isinstance(value, Mapping)
        else value
        for name, value in here.items()
    }
    return {**there, **both}


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
