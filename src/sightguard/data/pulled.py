"""Where fetched data lie, and whether they are whole: `pulled.json` in the folder that `sightguard pull` writes to.

    {"schema": 1, "pulled": {"xstest": {"kind": "data", "repo": "…", "revision": "…", "folder": "xstest",
                                        "files": {"rows.csv": {"bytes": 10, "sha256": "…"}}}}}

Everything is read from there without a network.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from sightguard.artifacts import read_json, sha256_file, write_json
from sightguard.data.facts import Entry
from sightguard.errors import DataError

SCHEMA = 1
RECORD = "pulled.json"
ENVIRONMENT = "SIGHTGUARD_DATA"
DEFAULT = "sightguard-data"
KEEPS = (".cache", ".git")
"""Folders that huggingface and git keep for themselves."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """What was fetched under one name."""

    kind: Literal["data", "model"]
    repo: str
    revision: str
    """A commit."""
    folder: str
    """Relative to the folder of the record."""
    files: Mapping[str, Mapping[str, Any]]
    """Bytes and sha256 of each, by its path in the folder."""


def data_folder(data: Path | str | None = None) -> Path:
    """Return the folder of fetched data: the one given, the one that SIGHTGUARD_DATA names, or `sightguard-data`."""
    return Path(data if data is not None else os.environ.get(ENVIRONMENT) or DEFAULT)


def pulled(home: Path) -> dict[str, Pulled]:
    """Return what the record says was fetched; nothing where there is none.

    Raises:
        ArtifactError: the record cannot be read, or has another format number.
        DataError: the record holds something else.
    """
    path = home / RECORD
    if not path.is_file():
        return {}
    try:
        return {name: Pulled(**told) for name, told in read_json(path, schema=SCHEMA)["pulled"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{str(path)!r} is not a record of `sightguard pull` ({error}). Fetch again.") from error


def contents(place: Path) -> list[Path]:
    """Return the files of a folder, in order, without what huggingface and git keep for themselves."""
    return [
        path
        for path in sorted(place.rglob("*"))
        if path.is_file() and not set(KEEPS) & set(path.relative_to(place).parts)
    ]


def record(home: Path, name: str, repo: str, revision: str, kind: Literal["data", "model"], folder: str) -> Pulled:
    """Write down what lies in the folder, with the digest of each file, beside what was fetched before."""
    place = home / folder
    files = {
        path.relative_to(place).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        for path in contents(place)
    }
    made = Pulled(kind, repo, revision, folder, files)
    told = {**pulled(home), name: made}
    write_json(home / RECORD, {"schema": SCHEMA, "pulled": {key: asdict(one) for key, one in sorted(told.items())}})
    return made


def place_of(entry: Entry | str, data: Path | str | None = None) -> Path:
    """Return the folder of a benchmark, or of a model ("owner/name"), that was fetched.

    Looked for: what `pulled.json` says, then a folder of its name or title, whatever the case.

    Raises:
        DataError: it is not there, or the download is not whole; the message says where was looked and how to get it.
    """
    home = data_folder(data)
    name = entry if isinstance(entry, str) else entry.name
    if kept := pulled(home).get(name):
        return _whole(home / kept.folder, kept, name)
    names = {_plain(name)} if isinstance(entry, str) else {_plain(name), _plain(entry.title)} - {""}
    for folder in sorted(home.iterdir()) if home.is_dir() else ():
        if folder.is_dir() and _plain(folder.name) in names:
            return folder
    raise DataError(
        f"{name} is not here: looked in {str(home)!r} for {RECORD} and for a folder of its name. {_advice(entry, home)} "
        f"Another folder: {ENVIRONMENT}=DIR, or --data DIR."
    )


def _advice(entry: Entry | str, home: Path) -> str:
    if isinstance(entry, str):
        return f"Fetch it where there is a network: sightguard pull {entry} --to {home}."
    if entry.fetch.hub:
        return f"Licence: {entry.licence}. Fetch it where there is a network: sightguard pull {entry.name} --to {home}."
    line = entry.get(home / entry.name)
    if not line:
        return f"It is a {entry.summary}, whose pages say how to get its files."
    return f"Licence: {entry.licence}. To get it: {line}."


def _whole(place: Path, kept: Pulled, name: str) -> Path:
    if kept.folder in ("", ".", "..") or Path(kept.folder).name != kept.folder:
        raise DataError(
            f"the record of {name} leads out of its folder ({kept.folder!r}); no such record is followed. Fetch again."
        )
    wrong = [
        path
        for path, told in kept.files.items()
        if not (place / path).is_file() or (place / path).stat().st_size != told["bytes"]
    ]
    if wrong:
        raise DataError(
            f"{str(place)!r} is not whole: {len(wrong)} of {len(kept.files)} files are not there or of another size, such as "
            f"{wrong[0]!r}. Fetch the rest: sightguard pull {name} --to {place.parent} --revision {kept.revision}"
        )
    return place


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.partition("(")[0].lower())
