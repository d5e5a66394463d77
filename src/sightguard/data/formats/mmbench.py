"""MMBench ("MMBench: Is Your Multi-modal Model an All-around Player?", arXiv 2307.06281), as VLMEvalKit's tables have it.

One table with tabs between its cells: `index`, `question`, `hint`, `A` to `D`, `answer`, `category`, `image` in base64, or in its place
the index of the row that has the picture. The question is written as VLMEvalKit writes it (`prompts/mmbench.yaml`, Apache-2.0). The official
metric is CircularEval: a question counts if it is right in every rotation of its options; `circular=True` gives each rotation as a
sample of its own, and `meta["group"]` says which belong together. The test split has no answers: its rows are listed as missing.
"""

from __future__ import annotations

import base64
import binascii
import csv
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sightguard.data.benchmark import Benchmark
from sightguard.data.facts import Entry, facts
from sightguard.data.formats import choices
from sightguard.data.formats.parts import chosen
from sightguard.data.formats.places import advice, locate
from sightguard.data.formats.requests import Found, Request, gather
from sightguard.data.formats.tables import Table, read_csv_rows
from sightguard.data.formats.wording import Wording, wording
from sightguard.errors import PictureError
from sightguard.types import SAME_AS, Image

FILES = ("mmbench_dev_20230712.tsv", "MMBench_DEV_EN.tsv", "mmbench_dev_en_20231003.tsv", "MMBench_DEV_EN_V11.tsv")
WORDINGS = ("mmbench", "letter")
REFERENCE = 64
"""Characters of an `image` up to which it is the index of another row."""


def read_mmbench(
    place: Path | str,
    *,
    circular: bool = False,
    words: str = "mmbench",
    revision: str | None = None,
    check_pictures: bool = False,
) -> Benchmark:
    """Return each question with its options; every spelling of the right one is in `meta["answer"]`.

    Args:
        place: the table, or the folder that holds it under one of its usual names.
        circular: each rotation of the options as a sample of its own.
        words: "mmbench", or "letter", by which LLaVA asks for the letter alone.
        revision: version of the table, for the record.
        check_pictures: decode each picture once.

    Raises:
        DataError: no such file, a git-LFS pointer, no table, or a column that is not there.
        UnknownName: no such words.
    """
    entry, folder = facts("mmbench"), Path(place)
    (name,) = chosen("words of MMBench", words, WORDINGS)
    path = locate(folder, FILES, entry)
    rows = _table(path, entry, folder)
    encoded = {row["index"].strip(): row["image"] for _, row in rows}
    requests = (request for where, row in rows for request in _asked(where, row, encoded, wording(name), circular))
    return gather(entry, requests, Found(folder, (path,), revision, check=check_pictures))


def _asked(
    where: str, row: Mapping[str, str], encoded: Mapping[str, str], words: Wording, circular: bool
) -> Iterator[Request]:
    group, right = f"mmbench/{row['index'].strip()}", row["answer"].strip().upper()
    options = {letter: row[letter] for letter in choices.LETTERS if _there(row.get(letter))}
    hint = row.get("hint", "") if _there(row.get("hint")) else ""
    if right not in options:
        yield Request(
            id=group,
            where=where,
            text=row["question"],
            harmful=False,
            category=row["category"],
            pictures=(_unanswered,),
        )
        return
    for turn in range(len(options) if circular else 1):
        turned = choices.lettered([*options.values()][turn:] + [*options.values()][:turn])
        letter = choices.LETTERS[(list(options).index(right) - turn) % len(options)]
        yield Request(
            id=f"{group}/{turn}" if circular else group,
            where=where,
            text=choices.written(words, row["question"], turned, hint),
            harmful=False,
            category=row["category"],
            pictures=(partial(_picture, row["image"], encoded),),
            meta={**choices.known(letter, turned), "group": group, **({SAME_AS: group} if circular else {})},
        )


def _unanswered() -> Image:
    raise PictureError("the row has no right answer among its options: the test split is judged by its makers alone")


def _picture(cell: str, encoded: Mapping[str, str]) -> Image:
    told = encoded.get(cell.strip(), "") if len(cell) <= REFERENCE else cell
    try:
        data = base64.b64decode(told, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data:
        raise PictureError("the row's picture is neither base64 nor the index of a row that has one")
    return Image(data=data)


def _there(cell: str | None) -> bool:
    """Return whether a cell holds something: an option that is not there is written as nothing, or as nan."""
    return cell is not None and cell.strip().lower() not in ("", "nan")


def _table(path: Path, entry: Entry, folder: Path) -> Table:
    columns = ("index", "question", "answer", "category", "image", "A", "B")
    with _large_cells():
        return read_csv_rows(path, columns, advice(entry, folder), delimiter="\t")


@contextmanager
def _large_cells() -> Iterator[None]:
    """Let a cell hold a picture: csv reads 128 KiB at most, and the limit is one for the whole process."""
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)
