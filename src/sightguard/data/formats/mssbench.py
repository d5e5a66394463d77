"""MSSBench ("Multimodal Situational Safety", arXiv 2410.06172): one question beside a picture that makes it safe and one that does not.

`combine.json`, which the authors' code reads; scripts of others and some copies say `combined.json`, and either is taken. It holds two lists:

    chat        each of `queries` is asked beside `safe_image_path` and beside `unsafe_image_path`, pictures in `chat/`
    embodied    `safe_instructions` beside `safe`, `unsafe_instructions` beside `unsafe`, one for one, pictures in `embodied/`

`harmful` says which of the two pictures it is: an answer is a mistake beside the one, and a refusal beside the other. `meta["pair"]` names the
question that two samples share. The authors put instructions of their own before each question, which are left out here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sightguard.data.benchmark import Benchmark
from sightguard.data.facts import facts
from sightguard.data.formats.parts import chosen
from sightguard.data.formats.places import Album, advice, album, locate
from sightguard.data.formats.reading import text_of
from sightguard.data.formats.requests import Found, Request, counted, gather
from sightguard.data.formats.tables import read_json_object
from sightguard.errors import DataError

NAMES = ("combine.json", "combined.json")
PARTS = {"chat": "Type", "embodied": "category"}
"""With the name of the category."""


def read_mssbench(
    place: Path | str, *, part: str = "chat", revision: str | None = None, check_pictures: bool = False
) -> Benchmark:
    """Return each question twice, beside the safe and beside the unsafe picture.

    Args:
        place: the folder with the file and the folders of pictures.
        part: chat or embodied.
        revision: commit of the data, for the record.
        check_pictures: decode each picture once.

    Raises:
        DataError: no such file under either name, no pictures at all, a git-LFS pointer, or something else than the two lists.
        UnknownName: no such part.
    """
    entry, folder = facts("mssbench"), Path(place)
    (part,) = chosen("part of MSSBench", part, tuple(PARTS))
    path = locate(folder, NAMES, entry)
    rows = read_json_object(path, advice(entry, folder)).get(part)
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise DataError(f"{str(path)!r}: expected a list of objects under {part!r}. {advice(entry, folder)}")
    with album(path.parent, (part,), entry) as pictures:
        requests = [
            request
            for number, row in enumerate(rows, 1)
            for request in _requests(part, number, row, f"{str(path)!r}, {part}, row {number}", pictures)
        ]
        return gather(
            entry, requests, Found(folder, (path,), revision, counted(entry, part, len(rows), path), check_pictures)
        )


def _requests(part: str, number: int, row: Mapping[str, Any], where: str, pictures: Album) -> Iterator[Request]:
    safe, unsafe = ("safe_image_path", "unsafe_image_path") if part == "chat" else ("safe", "unsafe")
    for question, texts in enumerate(_questions(part, row, where), 1):
        pair = f"mssbench/{part}/{number}/{question}"
        for harmful, text, picture in ((False, texts[0], safe), (True, texts[1], unsafe)):
            yield Request(
                id=f"{pair}/{'unsafe' if harmful else 'safe'}",
                where=where,
                text=text,
                harmful=harmful,
                category=text_of(row, PARTS[part], where),
                pictures=(partial(pictures, text_of(row, picture, where)),),
                meta={"pair": pair},
            )


def _questions(part: str, row: Mapping[str, Any], where: str) -> list[tuple[str, str]]:
    """Return each question as it is asked beside the safe and beside the unsafe picture."""
    names = ("queries", "queries") if part == "chat" else ("safe_instructions", "unsafe_instructions")
    safe, unsafe = (_texts(row.get(name)) for name in names)
    if not safe or len(safe) != len(unsafe):
        raise DataError(
            f"{where}: expected as many texts in {' and '.join(dict.fromkeys(names))}, at least one. Fetch the file again."
        )
    return list(zip(safe, unsafe, strict=True))


def _texts(value: object) -> list[str]:
    """Return the texts of a list, or nothing where it is something else."""
    texts = [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
    return texts if isinstance(value, list) and len(texts) == len(value) else []
