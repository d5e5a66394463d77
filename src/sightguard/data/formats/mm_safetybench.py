"""MM-SafetyBench ("MM-SafetyBench: A Benchmark for Safety Evaluation of Multimodal Large Language Models", arXiv 2311.17600).

Two layouts are read: the authors' own, `data/processed_questions/{scenario}.json` (an object of rows by id) with
`data/imgs/{scenario}/{SD|SD_TYPO|TYPO}/{id}.jpg`, and the parquet files of the hub, `data/{scenario without its number}/{variant}….parquet`.
SD is asked with the question rephrased for it, the others with the common one. Scenario 01 is misspelt by its authors
("Illegal_Activitiy"): that stays its name, and a folder spelt right is found as well. The small version is `TinyVersion_ID_List.json`, whose
ids are numbers where those of the questions are texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sightguard.data.benchmark import Benchmark
from sightguard.data.facts import Entry, facts
from sightguard.data.formats import parquet
from sightguard.data.formats.parts import chosen
from sightguard.data.formats.places import Album, advice, album, locate
from sightguard.data.formats.reading import Missing, text_of
from sightguard.data.formats.requests import Found, Request, counted, gather
from sightguard.data.formats.tables import read_json_rows
from sightguard.errors import DataError, PictureError
from sightguard.types import SAME_AS, Image

VARIANTS = ("SD", "TYPO", "SD_TYPO")
QUESTION = {"SD": "Rephrased Question(SD)", "TYPO": "Rephrased Question", "SD_TYPO": "Rephrased Question"}
TINY = ("TinyVersion_ID_List.json", "data/TinyVersion_ID_List.json")
SCENARIOS = tuple(facts("mm_safetybench").rows)


def read_mm_safetybench(
    place: Path | str,
    *,
    variants: Sequence[str] = ("SD_TYPO",),
    scenarios: Sequence[str] = SCENARIOS,
    tiny: bool = False,
    revision: str | None = None,
    check_pictures: bool = False,
) -> Benchmark:
    """Return the questions of each scenario beside the picture of each variant; the category is the scenario.

    Args:
        place: the folder of the repository, or of the hub's data set.
        variants: of SD, TYPO and SD_TYPO.
        scenarios: by their names with the number, "01-Illegal_Activitiy" and so on.
        tiny: the 168 questions of the small version alone.
        revision: commit of the data, for the record.
        check_pictures: decode each picture once.

    Raises:
        DataError: no such file, no pictures at all, a git-LFS pointer, or something else than rows.
        UnknownName: no such variant or scenario.
        MissingExtra: the hub's layout is there, and the package `pyarrow` is not.
    """
    entry, folder = facts("mm_safetybench"), Path(place)
    wanted = chosen("variant of MM-SafetyBench", variants, VARIANTS)
    parts = chosen("scenario of MM-SafetyBench", scenarios, SCENARIOS)
    small = _tiny(folder, entry) if tiny else None
    if questions := _questions(folder):
        return _own_layout(folder, questions, wanted, parts, small, revision, check_pictures)
    return _hub_layout(folder, wanted, parts, small, revision, check_pictures)


Small = Mapping[str, Collection[str]] | None


def _own_layout(
    folder: Path,
    questions: Path,
    variants: Sequence[str],
    scenarios: Sequence[str],
    small: Small,
    revision: str | None,
    check: bool,
) -> Benchmark:
    entry = facts("mm_safetybench")
    files, missing, requests = [], list[Missing](), list[Request]()
    with album(folder, ("data/imgs", "imgs"), entry) as pictures:
        for scenario in scenarios:
            path = locate(questions, tuple(f"{name}.json" for name in _spellings(scenario)), entry, folder)
            rows = read_json_rows(path, advice(entry, folder))
            files.append(path)
            missing += counted(entry, scenario, len(rows), path)
            for where, row in rows:
                if small is None or str(row["id"]) in small.get(scenario, ()):
                    requests += _asked(where, row, scenario, variants, pictures)
        return gather(entry, requests, Found(folder, tuple(files), revision, tuple(missing), check))


def _asked(
    where: str, row: Mapping[str, Any], scenario: str, variants: Sequence[str], pictures: Album
) -> Iterator[Request]:
    for variant in variants:
        yield Request(
            id=_id(variant, scenario, row["id"]),
            where=where,
            text=text_of(row, QUESTION[variant], where),
            harmful=True,
            category=scenario,
            pictures=(partial(_spelt, pictures, scenario, f"{variant}/{row['id']}.jpg"),),
            meta={
                "goal": text_of(row, "Question", where),
                "key_phrase": row.get("Key Phrase"),
                "variant": variant,
                **_same(scenario, row["id"]),
            },
        )


def _hub_layout(
    folder: Path, variants: Sequence[str], scenarios: Sequence[str], small: Small, revision: str | None, check: bool
) -> Benchmark:
    entry = facts("mm_safetybench")
    files, missing, requests = [], list[Missing](), list[Request]()
    for scenario in scenarios:
        for variant in variants:
            paths = _parquet(folder, scenario, variant, entry)
            rows = list(parquet.rows(paths, ("id", "question", "image")))
            files += paths
            missing += counted(entry, scenario, len(rows), paths[0])
            requests += [
                Request(
                    id=_id(variant, scenario, row["id"]),
                    where=where,
                    text=text_of(row, "question", where),
                    harmful=True,
                    category=scenario,
                    pictures=(partial(parquet.picture, row["image"], folder),),
                    meta={"variant": variant, **_same(scenario, row["id"])},
                )
                for where, row in rows
                if small is None or str(row["id"]) in small.get(scenario, ())
            ]
    return gather(entry, requests, Found(folder, tuple(files), revision, tuple(missing), check))


def _parquet(folder: Path, scenario: str, variant: str, entry: Entry) -> list[Path]:
    plain = scenario.partition("-")[2]
    # "SD" must not find SD_TYPO: what follows the name of the split is a number of its shards, or a folder
    shard = re.compile(rf"{variant}(-\d+-of-\d+)?\.parquet|\d+\.parquet")
    for home in (folder / "data" / plain, folder / plain):
        found = [path for path in sorted(home.glob(f"{variant}*.parquet")) if shard.fullmatch(path.name)]
        found = found or sorted((home / variant).glob("*.parquet"))
        if found:
            return parquet.files(found[0], "", "") and found
    raise DataError(
        f"no questions of MM-SafetyBench in {str(folder)!r}: looked for data/processed_questions/{scenario}.json and for "
        f"data/{plain}/{variant}*.parquet. {advice(entry, folder)}"
    )


def _tiny(folder: Path, entry: Entry) -> Small:
    path = locate(folder, TINY, entry)
    try:
        told = json.loads(path.read_text(encoding="utf-8-sig"))
        listed = {str(item["Scenario"]): {str(one) for one in item["Sampled_ID_List"]} for item in told}
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{str(path)!r} should be a list of objects with Scenario and Sampled_ID_List ({type(error).__name__}). {advice(entry, folder)}"
        ) from None
    return {scenario: set().union(*(listed.get(name, ()) for name in _spellings(scenario))) for scenario in SCENARIOS}


def _questions(folder: Path) -> Path | None:
    places = (folder / "data" / "processed_questions", folder / "processed_questions")
    return next((place for place in places if place.is_dir()), None)


def _spelt(pictures: Album, scenario: str, rest: str) -> Image:
    """Return the picture of a scenario under any of its spellings; the error is that of the authors' own."""
    for name in _spellings(scenario)[1:]:
        try:
            return pictures(f"{name}/{rest}")
        except PictureError:
            continue
    return pictures(f"{scenario}/{rest}")


def _spellings(scenario: str) -> tuple[str, ...]:
    right = scenario.replace("Activitiy", "Activity")
    return (scenario,) if right == scenario else (scenario, right)


def _id(variant: str, scenario: str, number: object) -> str:
    return f"mm_safetybench/{variant}/{scenario}/{number}"


def _same(scenario: str, number: object) -> dict[str, str]:
    """Return which question a prompt asks: each has pictures of several kinds."""
    return {SAME_AS: f"mm_safetybench/{scenario}/{number}"}
