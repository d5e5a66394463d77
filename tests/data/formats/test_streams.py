"""LLaVA conversations and COCO captions: row by row, in flat memory, and every row accounted for."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sightguard.data.formats.coco import iter_coco_captions
from sightguard.data.formats.llava import iter_llava
from sightguard.data.formats.reading import Missing
from sightguard.errors import DataError, MissingExtra
from sightguard.types import Image, Sample
from tests.data.formats.layouts import COCO, GPT, HUMAN, LLAVA, POINTER, picture, write_json
from tests.traced import traced


def samples(found: Iterator[Sample | Missing]) -> tuple[list[Sample], list[Missing]]:
    rows = list(found)
    return [row for row in rows if isinstance(row, Sample)], [row for row in rows if isinstance(row, Missing)]


def test_conversations_are_samples_and_text_alone_is_listed(tmp_path: Path) -> None:
    (first, last), (lost,) = samples(
        iter_llava(write_json(tmp_path / "mix.json", LLAVA), tmp_path / "p", revision="v1")
    )
    assert first.id == "mix/1"
    assert first.source == "mix.json@v1"
    assert first.harmful is None
    assert first.messages[0].parts == (Image(path=tmp_path / "p" / "coco/train2017/a.jpg"), "What is it?")
    assert first.meta == {"id": "000000033471", "model": "ours", "image": "coco/train2017/a.jpg", "answer": "A lamp."}
    assert last.id == "mix/3"
    assert [message.role for message in last.messages] == ["user", "assistant", "user"]
    assert last.messages[0].parts == (Image(path=tmp_path / "p/a.jpg"), "or", Image(path=tmp_path / "p/b.jpg"), "?")
    assert (lost.id, lost.reason) == ("mix/2", "the row has no picture, only text")
    assert lost.where.endswith("mix.json', row 2")


def test_json_lines_called_json_are_read(tmp_path: Path) -> None:
    listed = list(iter_llava(write_json(tmp_path / "a.json", LLAVA)))
    (tmp_path / "a.json").write_text("\n" + "\n\n".join(map(json.dumps, LLAVA)), encoding="utf-8-sig")
    assert [row for row in iter_llava(tmp_path / "a.json") if isinstance(row, Sample)] == [
        row for row in listed if isinstance(row, Sample)
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([1], "expected a JSON object with image and conversations; got list"),
        ({"image": "../a.jpg", "conversations": [HUMAN, GPT]}, "the path '../a.jpg' leads out of its folder"),
        ({"image": "/etc/a.jpg", "conversations": [HUMAN, GPT]}, "the path '/etc/a.jpg' leads out of its folder"),
        ({"image": [3], "conversations": [HUMAN, GPT]}, "expected a path, or several, in 'image'; got list"),
        ({"image": "", "conversations": [HUMAN, GPT]}, "the row has no picture, only text"),
        ({"image": "a.jpg"}, "'conversations' should be a list of turns; got NoneType"),
        ({"image": "a.jpg", "conversations": [HUMAN, HUMAN, GPT]}, "2 signs <image> and 1 pictures: expected one sign"),
        ({"image": "a.jpg", "conversations": [{"from": "cat", "value": "m"}]}, "turn 0 should have 'from'"),
    ],
)
def test_a_row_that_is_no_sample_is_listed_and_the_next_one_read(tmp_path: Path, row: Any, reason: str) -> None:
    found, (lost,) = samples(iter_llava(write_json(tmp_path / "a.json", [row, LLAVA[0]])))
    assert lost.reason.startswith(reason)
    assert [sample.id for sample in found] == ["a/2"]


def test_files_are_looked_for_only_when_asked(tmp_path: Path) -> None:
    place = write_json(tmp_path / "a.json", [{"id": 1, "image": "a.jpg", "conversations": [HUMAN, GPT]}])
    coco = write_json(tmp_path / "c.json", {"images": COCO["images"][:1], "annotations": COCO["annotations"][1:3]})
    for found in (iter_llava(place), iter_coco_captions(coco)):
        assert samples(found)[1] == []
    for found in (iter_llava(place, check_pictures=True), iter_coco_captions(coco, check_pictures=True)):
        (lost,) = samples(found)[1]
        assert lost.reason.endswith("does not exist")
    for name in ("a.jpg", "000000000009.jpg"):
        (tmp_path / name).write_bytes(picture(1))
    for found in (iter_llava(place, check_pictures=True), iter_coco_captions(coco, check_pictures=True)):
        assert samples(found)[1] == []


@pytest.mark.parametrize("order", [("licenses", "images", "annotations"), ("annotations", "images", "licenses")])
def test_captions_meet_their_pictures_in_any_order_with_the_licence_of_each(
    tmp_path: Path, order: tuple[str, ...]
) -> None:
    place = write_json(tmp_path / "captions.json", {name: COCO[name] for name in order})
    found, (lost,) = samples(iter_coco_captions(place, tmp_path / "train2017"))
    assert [sample.id for sample in found] == ["captions/1", "captions/2", "captions/3"]
    assert found[0].messages[0].parts == (
        Image(path=tmp_path / "train2017" / "000000000009.jpg"), "A plate of food.", "Bread and tea.",
    )  # fmt: skip
    assert found[0].meta["licence"] == COCO["licenses"][0]
    assert found[0].meta["captions"] == COCO["annotations"][1:3]
    assert (found[0].meta["license"], found[0].meta["height"]) == (4, 10)
    assert found[1].meta["licence"] is None
    assert found[2].text == ""
    assert {sample.harmful for sample in found} == {None}
    assert (lost.id, lost.reason) == ("captions/annotation/4", "no picture has the id '77'")


def test_a_picture_that_cannot_be_named_is_listed_with_its_captions_accounted_for(tmp_path: Path) -> None:
    images = [{"id": 9, "file_name": "../x.jpg"}, {"id": 25}]
    place = write_json(tmp_path / "c.json", {"images": images, "annotations": COCO["annotations"][:3]})
    found, lost = samples(iter_coco_captions(place))
    assert found == []
    assert [(m.id, m.reason) for m in lost] == [
        ("c/1", "the path '../x.jpg' leads out of its folder"),
        ("c/2", "expected the name of a picture in 'file_name'; got None"),
    ]


@pytest.mark.parametrize("read", [iter_llava, iter_coco_captions])
def test_files_that_are_no_data_are_errors(tmp_path: Path, read: Any) -> None:
    place = tmp_path / "a.json"
    with pytest.raises(DataError, match="no file"):
        list(read(place))
    place.write_bytes(POINTER)
    with pytest.raises(DataError, match="is a git-LFS pointer"):
        list(read(place))


def test_a_torn_file_says_after_which_row_and_what_came_before_was_read(tmp_path: Path) -> None:
    place = write_json(tmp_path / "a.json", [LLAVA[0]] * 3)
    place.write_text(place.read_text()[:-20])
    rows = iter_llava(place)
    assert [next(rows).id for _ in range(2)] == ["a/1", "a/2"]
    with pytest.raises(DataError, match=r"a\.json' is not JSON after item 2 of 'item'"):
        next(rows)
    place.write_text('"text"')
    with pytest.raises(DataError, match="should be a JSON list or JSON lines; it begins with"):
        next(iter_llava(place))
    place.write_text('{"a": 1}\n{"b"\n')
    with pytest.raises(DataError, match=r"line 2: not JSON"):
        list(iter_llava(place))
    write_json(place, {"annotations": []})
    with pytest.raises(DataError, match="lists no pictures"):
        list(iter_coco_captions(place))
    write_json(place, {"images": [3], "annotations": []})
    with pytest.raises(DataError, match=r"images\.item 1: expected a JSON object; got int"):
        list(iter_coco_captions(place))


@pytest.mark.parametrize("read", [iter_llava, iter_coco_captions])
def test_without_ijson_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Any) -> None:
    place = write_json(tmp_path / "a.json", LLAVA if read is iter_llava else COCO)
    monkeypatch.setitem(sys.modules, "ijson", None)
    with pytest.raises(MissingExtra, match=r"pip install 'sightguard\[data\]'"):
        list(read(place))


def large(folder: Path, kind: str, rows: int) -> Path:
    words = "a word and another " * 100
    if kind == "llava":
        turns = [{"from": "human", "value": f"<image>\n{words}"}, GPT]
        return write_json(
            folder / f"{rows}.json", [{"id": n, "image": f"{n}.jpg", "conversations": turns} for n in range(rows)]
        )
    images = [{"id": n, "file_name": f"{n}.jpg", "license": 4} for n in range(rows)]
    told = [{"id": n, "image_id": rows - 1 - n, "caption": words} for n in range(rows)]
    return write_json(folder / f"{rows}.json", {**COCO, "images": images, "annotations": told})


def count(read: Callable[[Path], Iterator[Any]], place: Path) -> int:
    return sum(isinstance(row, Sample) for row in read(place))


@pytest.mark.parametrize("kind", ["llava", "coco"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, kind: str) -> None:
    place = large(tmp_path, kind, 6000)
    found, peak = traced(count, iter_llava if kind == "llava" else iter_coco_captions, place)
    assert found == 6000
    assert peak < place.stat().st_size / 3, peak  # a row is 2 kB; all of them together are the file
