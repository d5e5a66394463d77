"""JailBreakV-28K ("JailBreakV: A Benchmark for Assessing the Robustness of MultiModal Large Language Models …", arXiv 2404.03027).

    hf download --repo-type dataset JailbreakV-28K/JailBreakV-28k --local-dir DIR

`JailBreakV_28K/JailBreakV_28K.csv`, `mini_JailBreakV_28K.csv` and `RedTeam_2K.csv` (plain requests without pictures), the pictures beside
them in `figstep/`, `llm_transfer_attack/` and `query_related/`, named by `image_path`. Cells run over several lines. The request
behind an attack is in `meta["goal"]`. The public repository has only a sample of the pictures; the others are listed as missing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from sightguard.data.benchmark import Benchmark
from sightguard.data.facts import facts
from sightguard.data.formats.archive import inside, tree_of
from sightguard.data.formats.parts import chosen
from sightguard.data.formats.places import Album, advice, locate
from sightguard.data.formats.requests import Found, Request, counted, gather
from sightguard.data.formats.tables import Table, read_csv_rows
from sightguard.errors import DataError
from sightguard.types import SAME_AS, Image

FILES = {"full": "JailBreakV_28K.csv", "mini": "mini_JailBreakV_28K.csv", "redteam": "RedTeam_2K.csv"}
FORMATS = ("Template", "Persuade", "Logic", "SD", "typo", "SD_typo", "figstep")
PICTURES = ("figstep", "llm_transfer_attack", "query_related")
COLUMNS = ("id", "jailbreak_query", "redteam_query", "format", "policy", "image_path")


def read_jailbreakv(
    place: Path | str,
    *,
    part: str = "mini",
    formats: Sequence[str] = FORMATS,
    revision: str | None = None,
    check_pictures: bool = False,
) -> Benchmark:
    """Return each attack beside its picture; the category is the policy, `meta["format"]` the kind of attack.

    Args:
        place: the folder of the data set, or its `JailBreakV_28K/`.
        part: full, mini, or redteam, the plain requests.
        formats: which kinds of attack; not for `redteam`.
        revision: commit of the data, for the record.
        check_pictures: decode each picture once.

    Raises:
        DataError: no such file, no pictures at all, a git-LFS pointer, no CSV, or a column that is not there.
        UnknownName: no such part or format.
    """
    entry, folder = facts("jailbreakv"), Path(place)
    (part,) = chosen("part of JailBreakV-28K", part, tuple(FILES))
    wanted = {name.lower() for name in chosen("format of JailBreakV-28K", formats, FORMATS)}
    name = FILES[part]
    path = locate(folder, (f"JailBreakV_28K/{name}", name), entry)
    columns = ("id", "question", "policy") if part == "redteam" else COLUMNS
    rows = read_csv_rows(path, columns, advice(entry, folder))
    found = Found(folder, (path,), revision, counted(entry, part, len(rows), path), check_pictures)
    if part == "redteam":
        return gather(entry, _plain(rows), found)
    tree = tree_of(path.parent)
    if not tree:
        raise DataError(
            f"no pictures of {entry.title} in {str(path.parent)!r}: expected {', '.join(PICTURES)}. {advice(entry, folder)}"
        )
    kept = [(where, row) for where, row in rows if row["format"].strip().lower() in wanted]
    return gather(entry, _attacks(kept, part, Album([tree])), found)


def _plain(rows: Table) -> Iterator[Request]:
    for where, row in rows:
        yield Request(
            id=f"jailbreakv/redteam/{row['id'].strip()}",
            where=where,
            text=row["question"],
            harmful=True,
            category=row["policy"],
            meta={"from": row.get("from"), **_same(row["question"])},
        )


def _attacks(rows: Table, part: str, pictures: Album) -> Iterator[Request]:
    for where, row in rows:
        known = {name: row.get(name) for name in ("format", "from", "transfer_from_llm")}
        yield Request(
            id=f"jailbreakv/{part}/{row['id'].strip()}",
            where=where,
            text=row["jailbreak_query"],
            harmful=True,
            category=row["policy"],
            pictures=(partial(_beside, pictures, row["image_path"].strip()),),
            meta={"goal": row["redteam_query"], **known, **_same(row["redteam_query"])},
        )


def _same(goal: str) -> dict[str, str]:
    """Return which question a prompt asks: many jailbreaks are made of one request, which has no number of its own."""
    return {SAME_AS: f"jailbreakv/goal/{hashlib.sha256(goal.strip().encode()).hexdigest()[:16]}"}


def _beside(pictures: Album, path: str) -> Image:
    """Return the picture at a path, which may begin above the folders of pictures."""
    parts = inside(path).parts
    first = next((number for number, part in enumerate(parts) if part in PICTURES), 0)
    return pictures("/".join(parts[first:]))
