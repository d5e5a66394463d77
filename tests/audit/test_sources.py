"""Every kind of source gives the same items: the ids, the words, the bytes of the pictures."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset

from sightguard.audit.index import build
from sightguard.audit.items import Item, from_rows, to_table
from sightguard.audit.reading import encoded as bytes_of
from sightguard.audit.sources.columns import Columns
from sightguard.audit.sources.opened import Data, Notes, items
from sightguard.errors import DataError
from tests.audit import made


def found(*roots: Path | str, **options: Any) -> list[Item]:
    images = options.pop("images", None)
    data = Data(roots=tuple(map(str, roots)), images=images and str(images), **options)
    with TemporaryDirectory() as folder:  # as they are once they were written to an index and read again
        index = build(Path(folder), data, shard=2)
        return [item for number in index.shards for item in index.read(number)]


def pictures(item: Item) -> list[bytes]:
    return [data for place in item.places for data in bytes_of(place)]


def shown(n: int) -> list[bytes]:
    return [made.encoded(made.picture(100, seed=i)) for i in range(n)]


def test_llava_conversations_are_read_with_the_words_of_the_user_alone(tmp_path: Path) -> None:
    path = made.llava(tmp_path, 3, license="CC-BY-4.0")
    read = found(path, images=tmp_path / "images")
    assert [item.id for item in read] == ["p0", "p1", "p2"]
    assert read[1].text == "what is in picture 1?\nand now?"
    assert read[1].turns == ("what is in picture 1?", "and now?")
    assert {item.licence for item in read} == {"CC-BY-4.0"}
    assert pictures(read[2]) == [(tmp_path / "images/train/002.png").read_bytes()]


def test_names_are_relative_to_the_file_where_no_folder_is_named(tmp_path: Path) -> None:
    path = made.llava(tmp_path, 1)
    path.rename(tmp_path / "images/llava.json")
    (item,) = found(tmp_path / "images/llava.json")
    assert pictures(item) == [(tmp_path / "images/train/000.png").read_bytes()]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_one_object_a_line_whatever_the_file_is_called(tmp_path: Path, name: str) -> None:
    lines = [
        {"question_id": 7, "image": "a.jpg", "text": "is it red?", "label": "yes"},
        {"id": "x", "images": ["a.jpg", "b.jpg"], "question": ["one?", "two?"]},
    ]
    (tmp_path / name).write_text("\ufeff" + "\n".join(map(json.dumps, lines)) + "\n\n", encoding="utf-8")
    first, second = found(tmp_path / name)
    assert (first.id, first.text, first.label) == ("7", "is it red?", '{"label": "yes"}')
    assert [place.path for place in second.places] == [str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg")]
    assert second.text == "one?\ntwo?"
    assert (first.turns, second.turns) == ((), ("one?", "two?"))


@pytest.mark.parametrize("indent", [None, 1])
def test_captions_of_coco(tmp_path: Path, indent: int | None) -> None:
    told = {
        "info": {},
        "licenses": [{"id": 4, "name": "Attribution License", "url": "http://creativecommons.org/licenses/by/2.0/"}],
        "images": [{"id": 9, "file_name": "a.png", "license": 4}, {"id": 5, "file_name": "b.png", "license": 4}],
        "annotations": [{"image_id": 9, "caption": "a dog"}, {"image_id": 9, "caption": "a brown dog"}],
    }
    (tmp_path / "captions.json").write_text(json.dumps(told, indent=indent))
    (tmp_path / "a.png").write_bytes(shown(1)[0])
    first, second = found(tmp_path / "captions.json")
    assert (pictures(first), first.text, first.licence) == (shown(1), "a dog a brown dog", "Attribution License")
    assert second.places[0].name == "b.png"


def test_bad_rows_are_items_that_say_so(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        '{"id": 1, "image": "a.jpg"}\n{"id": 2, \n{"id": 3, "image": 5}\n[1]\n{"id": 5, "image": "https://example.org/a.jpg"}\n'
    )
    read = found(path)
    assert [item.error is None for item in read] == [True, False, False, False, False]
    assert read[1].id == "rows/2"
    assert "path of a picture" in str(read[2].error)
    assert "expected an object; got list" in str(read[3].error)
    assert "not fetched" in str(read[4].error)


def test_a_folder_of_pictures_in_the_order_of_its_paths(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name, data in zip(["b/2.png", "a.jpg", "._a.jpg", "b/1.PNG"], shown(4), strict=True):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "a.txt").write_text(" a dog \n")
    (tmp_path / "notes.pdf").write_bytes(b"x")
    (tmp_path / "labels.json").write_text("[]")
    notes = Notes()
    read = list(items(Data(roots=(str(tmp_path),)), notes))
    assert [(item.id, item.text) for item in read] == [("a.jpg", "a dog"), ("b/1.PNG", ""), ("b/2.png", "")]
    assert notes.other == {".pdf": 1, ".json": 1}
    assert "labels.json" in notes.warnings[0]


def test_several_roots_and_a_name_that_is_no_text(tmp_path: Path) -> None:
    odd = tmp_path / "one" / "a\udcff.png"
    for place in (odd, tmp_path / "two" / "a.png"):
        place.parent.mkdir()
        place.write_bytes(shown(1)[0])
    first, second = found(tmp_path / "one", tmp_path / "two")
    assert pictures(first) == pictures(second) == shown(1)
    assert first.id == "a\\udcff.png"


def test_ids_that_occur_again_get_a_number(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"id": id, "image": "a.png"}) + "\n" for id in ("a", "b", "a", "a", "a#2", "a")))
    assert [item.id for item in found(path)] == ["a", "b", "a#2", "a#3", "a#2#2", "a#4"]


@pytest.mark.parametrize("form", ["struct", "binary", "list"])
def test_parquet_with_pictures_inside(tmp_path: Path, form: str) -> None:
    cells: list[Any] = [{"bytes": data, "path": None} if form == "struct" else data for data in shown(5)]
    cells = [[cell] for cell in cells] if form == "list" else cells
    table = pa.table({"image": cells, "question": [f"q{i}" for i in range(5)], "licence": ["CC0"] * 5})
    pq.write_table(table, tmp_path / "part-0.parquet", row_group_size=2)
    read = found(tmp_path)
    assert [item.text for item in read] == [f"q{i}" for i in range(5)]
    assert [pictures(item) for item in read] == [[data] for data in shown(5)]
    assert {item.licence for item in read} == {"CC0"}


def test_parquet_with_paths_and_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(shown(1)[0])
    pq.write_table(pa.table({"file": ["a.png"], "text": ["hello"]}), tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=r"no column of pictures.*file, text.*--image-column"):
        found(tmp_path / "rows.parquet")
    (item,) = found(tmp_path / "rows.parquet", columns=Columns(image="file"))
    assert (pictures(item), item.text) == (shown(1), "hello")


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # which the library leaves to the collector
def test_webdataset_shards_are_read_in_place(tmp_path: Path) -> None:
    with webdataset.ShardWriter(str(tmp_path / "shard-%03d.tar"), maxcount=3, verbose=0) as writer:
        for i, data in enumerate(shown(5)):
            writer.write({"__key__": f"k{i}", "png": data, "txt": f"words {i}", "json": {"license": "CC0", "label": i}})
    read = found(tmp_path)
    theirs = list(webdataset.WebDataset([str(path) for path in sorted(tmp_path.glob("*.tar"))], shardshuffle=False))
    gc.collect()
    assert [item.id for item in read] == [one["__key__"] for one in theirs]
    assert [pictures(item) for item in read] == [[one["png"]] for one in theirs]
    assert [item.text for item in read] == [one["txt"].decode() for one in theirs]
    assert read[3].licence == "CC0"
    assert read[3].label == '{"label": 3}'


def test_a_compressed_tar_is_refused(tmp_path: Path) -> None:
    import tarfile

    (tmp_path / "a.png").write_bytes(shown(1)[0])
    with tarfile.open(tmp_path / "a.tar", "w:gz") as tar:
        tar.add(tmp_path / "a.png", "a.png")
    with pytest.raises(DataError, match="unpacked to .tar first"):
        found(tmp_path / "a.tar")


def saved(folder: Path, features: Any = None) -> Any:
    rows = {"image": [{"bytes": data, "path": None} for data in shown(4)], "caption": [f"c{i}" for i in range(4)]}
    made_of = datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string")})
    return datasets.Dataset.from_dict(rows, features=made_of)


def test_a_data_set_that_datasets_saved(tmp_path: Path) -> None:
    saved(tmp_path).save_to_disk(tmp_path / "set")
    read = found(tmp_path / "set")
    assert [item.text for item in read] == ["c0", "c1", "c2", "c3"]
    assert [pictures(item) for item in read] == [[data] for data in shown(4)]


def test_a_data_set_with_lists_of_pictures_or_paths(tmp_path: Path) -> None:
    several = datasets.Features({"images": datasets.List(datasets.Image()), "text": datasets.Value("string")})
    cells = [[{"bytes": data, "path": None} for data in shown(n)] for n in (1, 3)]
    datasets.Dataset.from_dict({"images": cells, "text": ["one", "three"]}, features=several).save_to_disk(
        tmp_path / "a"
    )
    assert [pictures(item) for item in found(tmp_path / "a")] == [shown(1), shown(3)]
    (tmp_path / "x.png").write_bytes(shown(1)[0])
    named = datasets.Dataset.from_dict({"image": [str(tmp_path / "x.png")], "text": ["named"]})
    named.save_to_disk(tmp_path / "b")
    assert [pictures(item) for item in found(tmp_path / "b")] == [shown(1)]


def test_a_split_is_to_be_named_where_there_are_several(tmp_path: Path) -> None:
    datasets.DatasetDict({"train": saved(tmp_path), "test": saved(tmp_path)}).save_to_disk(tmp_path / "set")
    with pytest.raises(DataError, match="the splits train, test; name one"):
        found(tmp_path / "set")
    assert len(found(tmp_path / "set", split="test")) == 4


def test_a_data_set_of_the_hub_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file or folder 'nobody/nothing' is here, and as a data set"):
        found("nobody/nothing", revision="0" * 40)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "", "is empty"),
        ("a.json", '[{"id": 1}, {"id"', "no whole JSON list"),
        ("a.json", '{"images": [\n1]}', "neither a JSON list"),
        ("a.json", "version https://git-lfs.github.com/spec/v1\n", "git-LFS pointer"),
        ("a.parquet", "version https://git-lfs.github.com/spec/v1\n", "git-LFS pointer"),
        ("a.tar", "version https://git-lfs.github.com/spec/v1\n", "git-LFS pointer"),
        ("a.parquet", "PAR1", "no readable parquet"),
        ("a.tar", "x" * 600, "no readable tar"),
        ("a.csv", "id,image\n", "of no kind that is audited"),
    ],
)
def test_files_that_cannot_be_read_end_it_with_advice(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        found(tmp_path / name)


def test_a_root_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data at"):
        found(tmp_path / "nothing")


def test_an_index_of_a_version_that_kept_no_turns_is_read() -> None:
    item = Item("a", "one\ntwo", turns=("one", "two"))
    (row,) = to_table(0, [item]).to_pylist()
    assert from_rows([row]) == [item]
    assert from_rows([{name: value for name, value in row.items() if name != "turns"}]) == [Item("a", "one\ntwo")]
