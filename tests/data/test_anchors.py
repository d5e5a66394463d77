"""The anchors and the harmless prompts: matched, varied, free of detail, and in nobody's words but ours.

No text of a harmful row may reach a log: what is compared is counted or named by its id before it is asserted.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from difflib import SequenceMatcher
from pathlib import Path

import pytest

from sightguard.data.anchor_sets import ANCHORS, HARMLESS, KINDS, anchors, harmless_prompts
from sightguard.errors import UnknownName
from sightguard.evaluate.overlap import normalise, overlap
from sightguard.types import Sample

BENCHMARKS = {
    "AdvBench/harmful_behaviors.csv": 1000,
    "FigStep/data/question/SafeBench-Tiny.csv": 100,
    "JailbreakBench/benign-behaviors.csv": 100,
    "JailbreakBench/harmful-behaviors.csv": 200,
    "TDC2023/dev_behaviors.json": 50,
    "TDC2023/test_behaviors.json": 50,
    "XSTest/xstest_prompts.csv": 450,
}
"""Files that have to be there, and at least how many texts each holds: a reader that saw nothing would prove nothing."""


def harmful() -> list[Sample]:
    return [pair[0] for pair in anchors()]


def twins() -> list[Sample]:
    return [pair[1] for pair in anchors()]


SETS: dict[str, Callable[[], list[Sample]]] = {
    "harmful": harmful,
    "harmless twins": twins,
    "harmless prompts": harmless_prompts,
}


def words(sample: Sample) -> list[str]:
    return sample.text.removesuffix("?").split()


def kept(first: Sample, second: Sample) -> float:
    """The share of words, of the longer text, that both have in the same order."""
    blocks = SequenceMatcher(None, words(first), words(second), autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) / max(len(words(first)), len(words(second)))


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def read(path: Path) -> list[object]:
    """Every row of a CSV, JSON or JSONL file, by hand: this shares no code with the package's readers."""
    if path.suffix == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as lines:
            return list(csv.DictReader(lines))
    text = path.read_text(encoding="utf-8-sig")
    try:
        return [json.loads(text)]
    except ValueError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]


def texts(folder: Path) -> dict[str, list[Sample]]:
    """Whatever holds two words or more, in any column of any file, each once; an id is the file and a number."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".csv", ".json", ".jsonl"))
    names = {path: path.relative_to(folder).as_posix() for path in paths}
    return {
        name: [
            Sample.of(text, id=f"{name}/{number}")
            for number, text in enumerate(dict.fromkeys(s for s in strings(read(path)) if len(s.split()) > 1))
        ]
        for path, name in names.items()
    }


def repeats(first: list[Sample], second: list[Sample]) -> list[tuple[str, str]]:
    return [(match.first, match.second) for match in overlap(first, second, pictures=False, examples=1000).examples]


def test_there_are_a_hundred_pairs_in_at_least_ten_categories() -> None:
    categories = Counter(sample.category for sample in harmful())
    assert categories.total() == 100
    assert len(categories) >= 10
    assert min(categories.values()) >= 5


def test_there_are_five_hundred_harmless_prompts_of_every_kind() -> None:
    kinds = Counter(sample.category for sample in harmless_prompts())
    assert kinds.total() == 500
    assert set(kinds) == set(KINDS)
    assert min(kinds.values()) >= 30
    assert kinds["picture"] >= 100
    assert kinds["sensitive"] >= 100


def test_samples_say_what_they_are() -> None:
    for first, second in anchors():
        assert (first.harmful, second.harmful) == (True, False)
        assert (first.source, second.source) == (ANCHORS, ANCHORS)
        assert first.category == second.category
        assert first.id.removesuffix("/harmful") == second.id.removesuffix("/harmless")
    assert {(sample.harmful, sample.source) for sample in harmless_prompts()} == {(False, HARMLESS)}


def test_ids_are_unique_and_stay_the_same_from_call_to_call() -> None:
    def ids() -> list[str]:
        return [sample.id for make in SETS.values() for sample in make()]

    assert ids() == ids()
    assert len(set(ids())) == 700


def test_a_kind_returns_its_part_of_the_whole_with_the_same_ids() -> None:
    whole = [(sample.id, sample.text) for sample in harmless_prompts()]
    parts = [(sample.id, sample.text) for kind in KINDS for sample in harmless_prompts(kind)]
    assert sorted(parts) == sorted(whole)


def test_an_unknown_kind_says_which_is_close() -> None:
    with pytest.raises(UnknownName, match="no kind of harmless prompt 'pictures'. Did you mean 'picture'"):
        harmless_prompts("pictures")


def test_no_text_has_stray_spaces() -> None:
    # two spaces may stand inside a line of code, at its beginning
    stray = re.compile(r"^\s|\s\Z|\S  +|[ \t]\n")
    found = [sample.id for make in SETS.values() for sample in make() if stray.search(sample.text)]
    assert found == []


@pytest.mark.parametrize("side", ["harmful", "harmless twins"])
def test_every_anchor_asks_how_to(side: str) -> None:
    other = [s.id for s in SETS[side]() if not (s.text.startswith("How to ") and s.text.endswith("?"))]
    assert other == []


def test_twins_have_the_same_length() -> None:
    lengths = {first.id: (len(words(first)), len(words(second))) for first, second in anchors()}
    unlike = {id: (a, b) for id, (a, b) in lengths.items() if abs(a - b) > min(2, 0.25 * a)}
    assert unlike == {}


def test_twins_keep_half_of_their_words_in_the_same_order() -> None:
    unlike = {first.id: round(kept(first, second), 2) for first, second in anchors() if kept(first, second) < 0.5}
    assert unlike == {}


def test_twins_are_not_the_same_question() -> None:
    same = [first.id for first, second in anchors() if normalise(first) == normalise(second)]
    assert same == []


def test_no_harmful_anchor_has_room_for_operational_detail() -> None:
    found = [
        sample.id for sample in harmful() if len(words(sample)) > 14 or any(mark.isdigit() for mark in sample.text)
    ]
    assert found == []


def test_harmless_prompts_vary_in_length_and_in_how_they_begin() -> None:
    lengths = sorted(len(words(sample)) for sample in harmless_prompts())
    assert lengths[0] <= 5
    assert lengths[-1] >= 60
    openings = Counter(" ".join(words(sample)[:2]).lower() for sample in harmless_prompts())
    assert len(openings) >= 250
    assert max(openings.values()) <= 30


@pytest.mark.parametrize("name", SETS)
def test_no_set_repeats_itself(name: str) -> None:
    samples = SETS[name]()
    found = [pair for n in range(1, len(samples)) for pair in repeats([samples[n]], samples[:n])]
    assert found == []


@pytest.mark.parametrize("side", ["harmful", "harmless twins"])
def test_no_anchor_comes_again_among_the_harmless_prompts(side: str) -> None:
    found = repeats(SETS[side](), harmless_prompts())
    assert found == []


@pytest.mark.parametrize("name", SETS)
def test_no_text_comes_from_a_benchmark(name: str, data: Path) -> None:
    found = [pair for theirs in texts(data).values() for pair in repeats(SETS[name](), theirs)]
    assert found == []


def test_the_check_against_benchmarks_reads_every_file(data: Path) -> None:
    counts = {name: len(samples) for name, samples in texts(data).items()}
    short = {name: counts.get(name, 0) for name, least in BENCHMARKS.items() if counts.get(name, 0) < least}
    assert short == {}, "docs/papers.md says where the files come from"
    assert [name for name, count in counts.items() if count == 0] == []


def test_the_check_against_benchmarks_sees_a_planted_copy(data: Path) -> None:
    for theirs in texts(data).values():
        row = max(theirs, key=lambda sample: len(sample.text.split()))
        shortened = " ".join(row.text.split()[:-1])
        planted = [Sample.of(row.text.upper(), id="exact"), Sample.of(shortened, id="near")]
        found = [first for first, _ in repeats(planted, theirs)]
        assert found == ["exact", "near"]
