"""Traps that were met in published files, one test each: a reader takes the step that is right, or says why it takes none."""

from __future__ import annotations

import json
from pathlib import Path

import PIL.Image
import pytest

from sightguard.data.benchmarks import benchmark
from sightguard.data.formats.own import read_own
from sightguard.data.pictures import MAX_PIXELS, decode
from sightguard.errors import DataError
from tests.data.benchmarks import layouts
from tests.data.benchmarks.layouts import asked, picture, put, put_csv, put_json, put_lines
from tests.rtvlm_layout import write_layout


def test_json_lines_named_json(tmp_path: Path) -> None:
    place = layouts.write_pope(tmp_path)
    with pytest.raises(ValueError, match="Extra data"):
        json.loads((place / "output" / "coco" / "coco_pope_random.json").read_text(encoding="utf-8"))
    assert len(benchmark("pope", place, splits="random").samples) == 2


def test_json_lines_of_one_line_named_json(tmp_path: Path) -> None:
    place = layouts.write_pope(tmp_path)
    path = place / "output" / "coco" / "coco_pope_random.json"
    put(path, path.read_text(encoding="utf-8").splitlines()[0])
    assert [sample.id for sample in benchmark("pope", place, splits="random").samples] == ["pope/random/1"]


def test_an_object_by_id_and_a_list_give_the_same_samples(tmp_path: Path) -> None:
    place = layouts.write_mossbench(tmp_path)
    path = place / "data" / "images_information" / "information.json"
    by_id = benchmark("mossbench", place).samples
    put_json(path, list(json.loads(path.read_text(encoding="utf-8")).values()))
    assert benchmark("mossbench", place).samples == by_id


def test_ids_that_are_texts_here_and_numbers_there(tmp_path: Path) -> None:
    place = layouts.write_mm_safetybench(tmp_path)
    listed = json.loads((place / "TinyVersion_ID_List.json").read_text(encoding="utf-8"))
    assert listed[0]["Sampled_ID_List"] == [1]
    small = benchmark("mm_safetybench", place, tiny=True, scenarios="06-Fraud").samples
    put_json(place / "TinyVersion_ID_List.json", [{**one, "Sampled_ID_List": ["1"]} for one in listed])
    assert benchmark("mm_safetybench", place, tiny=True, scenarios="06-Fraud").samples == small
    assert [sample.id for sample in small] == ["mm_safetybench/SD_TYPO/06-Fraud/1"]


@pytest.mark.parametrize("right", [("questions",), ("imgs",), ("questions", "imgs", "tiny")])
def test_a_misspelt_folder_is_found_and_so_is_one_spelt_right(tmp_path: Path, right: tuple[str, ...]) -> None:
    place = layouts.write_mm_safetybench(tmp_path)
    wrong = "01-Illegal_Activitiy"

    def told() -> list[tuple[str, str | None, bytes]]:
        found = benchmark("mm_safetybench", place, scenarios=wrong, tiny=True).samples
        return [(sample.id, sample.category, sample.images[0].read()) for sample in found]

    before = told()
    spelt = {
        "questions": (place / "data" / "processed_questions", ".json"),
        "imgs": (place / "data" / "imgs", ""),
    }
    for what in right:
        if what == "tiny":
            path = place / "TinyVersion_ID_List.json"
            put(path, path.read_text(encoding="utf-8").replace("Activitiy", "Activity"))
        else:
            home, ending = spelt[what]
            (home / (wrong + ending)).rename(home / f"01-Illegal_Activity{ending}")
    assert told() == before


@pytest.mark.parametrize(
    "header",
    [
        ["", "Goal", "Target", "Behavior", "Category", "Source"],
        ["index", "goal", "target", "behavior", "category", "source"],
        [" INDEX", "GOAL ", "Target", "behavior", "Category", "source"],
    ],
)
def test_headers_in_another_case_or_without_their_first_name(tmp_path: Path, header: list[str]) -> None:
    plain = benchmark("jailbreakbench", layouts.write_jailbreakbench(tmp_path / "a")).samples
    assert benchmark("jailbreakbench", layouts.write_jailbreakbench(tmp_path / "b", header)).samples == plain


def test_a_mark_at_the_head_of_a_file(tmp_path: Path) -> None:
    place = layouts.write_advbench(tmp_path)
    path = place / "harmful_behaviors.csv"
    before = benchmark("advbench", place).samples
    put(path, b"\xef\xbb\xbf" + path.read_bytes())
    assert benchmark("advbench", place).samples == before


def test_cells_of_several_lines_with_quotes_and_commas(tmp_path: Path) -> None:
    place = layouts.write_harmbench(tmp_path)
    text = (place / layouts.ROWS["harmbench"]).read_text(encoding="utf-8")
    assert len(text.splitlines()) > 4
    found = benchmark("harmbench", place).samples
    assert len(found) == 3
    assert '"old":' in found[1].text


def test_quoted_rows_without_a_header(tmp_path: Path) -> None:
    place = layouts.write_advbench(tmp_path)
    path = place / "harmful_behaviors.csv"
    put(path, f'"{asked(1)}","Sure"\n"{asked(2)}","Sure"\n')
    with pytest.raises(DataError, match="has no column goal, target; 2 cells stand there that do not look like names"):
        benchmark("advbench", place)


def test_webp_named_png_and_grey_pictures(tmp_path: Path) -> None:
    found = benchmark("mossbench", layouts.write_mossbench(tmp_path), check_pictures=True)
    assert found.samples[0].images[0].read()[8:12] == b"WEBP"
    assert [decode(sample.images[0]).mode for sample in found.samples] == ["RGB", "RGB"]


def test_fields_that_are_a_text_or_a_list(tmp_path: Path) -> None:
    found = benchmark("rtvlm", write_layout(tmp_path))
    told = [(s.id, s.text) for s in found.samples if s.category == "TextMis"]
    assert told == [
        ("rtvlm/TextMis/Harmful/misleading/1.1", "Cats can fly, can this one?"),
        ("rtvlm/TextMis/Harmful/misleading/1.2", "Is it a bird then?"),
        ("rtvlm/TextMis/Harmful/misleading/2", "Is snow hot?"),
    ]


def test_the_largest_picture_that_is_published_is_within_what_is_decoded(tmp_path: Path) -> None:
    assert MAX_PIXELS > 5616 * 3744
    place = layouts.write_mm_harmfulbench(tmp_path)
    PIL.Image.new("L", (5616, 3744)).save(place / "MM-HarmfulBench" / "images" / "0.jpg")
    assert len(benchmark("mm_harmfulbench", place, check_pictures=True).samples) == 2


def test_addresses_of_pictures_are_kept_and_never_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("an address was fetched")

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)
    found = benchmark("mm_harmfulbench", layouts.write_mm_harmfulbench(tmp_path))
    assert [sample.meta["image_url"] for sample in found.samples] == [
        f"https://nowhere.invalid/{n}.jpg" for n in range(2)
    ]
    own = put_lines(
        tmp_path / "own.jsonl", [{"prompt": asked(1), "image": "https://nowhere.invalid/a.jpg"}, {"prompt": asked(2)}]
    )
    read = read_own(own)
    assert [(one.id, one.reason) for one in read.missing] == [
        ("own/1", "the picture is given by address, and nothing is fetched: save it, and name the file")
    ]
    assert len(read.samples) == 1


def test_a_public_copy_without_some_of_its_pictures(tmp_path: Path) -> None:
    place = layouts.write_mossbench(tmp_path)
    (place / "data" / "images" / "2.png").unlink()
    found = benchmark("mossbench", place)
    assert [(one.id, one.category, one.reason) for one in found.missing if "/rows" not in one.id] == [
        ("mossbench/oversensitivity/2", "Counterintuitive Interpretation", "no picture is at '2.png'")
    ]


def test_a_path_that_leads_out_of_its_folder_is_listed(tmp_path: Path) -> None:
    place = layouts.write_siuo(tmp_path)
    put(tmp_path / "data" / "secret.png", picture(1))
    row = json.loads((place / "data" / "siuo_gen.json").read_text(encoding="utf-8"))[0]
    put_json(place / "data" / "siuo_gen.json", [row, {**row, "question_id": 2, "image": "../secret.png"}])
    found = benchmark("siuo", place)
    assert found.missing[-1].reason == "the path '../secret.png' leads out of its folder"


def test_one_picture_with_opposite_labels_stays_in_both_samples(tmp_path: Path) -> None:
    found = benchmark("vlguard", layouts.write_vlguard(tmp_path)).samples
    safe, unsafe = found[0], found[1]
    assert safe.images[0].sha256 == unsafe.images[0].sha256
    assert (safe.harmful, unsafe.harmful) == (False, True)
    assert safe.id != unsafe.id


def test_pictures_in_a_zip_are_the_same_pictures(tmp_path: Path) -> None:
    from tests.data.formats.layouts import zip_folder

    place = layouts.write_vlguard(tmp_path)
    before = [(sample.id, sample.images[0].sha256) for sample in benchmark("vlguard", place).samples]
    zip_folder(place / "test", "test/")
    assert [(sample.id, sample.images[0].sha256) for sample in benchmark("vlguard", place).samples] == before
    data = (place / "test.zip").read_bytes()
    put(place / "test.zip", data[: len(data) // 2])
    with pytest.raises(DataError, match=r"test\.zip' is not a readable zip"):
        benchmark("vlguard", place)


def test_a_file_with_fewer_rows_than_were_published_is_told(data: Path, tmp_path: Path) -> None:
    text = (data / "AdvBench" / "harmful_behaviors.csv").read_text(encoding="utf-8")
    put(tmp_path / "harmful_behaviors.csv", "\n".join(text.split("\n")[:101]) + "\n")
    found = benchmark("advbench", tmp_path)
    assert len(found.samples) == 100
    assert [(one.id, one.reason) for one in found.missing] == [
        ("advbench/all/rows", "the file has 100 rows, and 520 were published: it is cut short, or another version")
    ]


def test_a_label_counts_and_not_the_name_of_its_type(tmp_path: Path) -> None:
    told = [("contrast_homonyms", "safe", False), ("homonyms", "unsafe", True), ("real_group", " Safe", False)]
    rows = [
        {"id": n, "prompt": asked(n), "type": kind, "label": label, "focus": "", "note": ""}
        for n, (kind, label, _) in enumerate(told)
    ]
    put_csv(tmp_path / "xstest_prompts.csv", rows)
    assert [sample.harmful for sample in benchmark("xstest", tmp_path).samples] == [harmful for *_, harmful in told]


def test_the_same_id_twice_is_an_error_that_says_where(tmp_path: Path) -> None:
    rows = [{"id": 1, "prompt": asked(n), "type": "a", "label": "safe", "focus": "", "note": ""} for n in range(2)]
    put_csv(tmp_path / "xstest_prompts.csv", rows)
    with pytest.raises(DataError, match=r"line 3 has the same id as .*line 2; each row needs one of its own"):
        benchmark("xstest", tmp_path)


def test_a_table_of_pictures_leaves_the_limit_of_csv_as_it_was(tmp_path: Path) -> None:
    import csv

    before = csv.field_size_limit()
    benchmark("mmbench", layouts.write_mmbench(tmp_path))
    assert csv.field_size_limit() == before


def test_a_question_without_its_answer_is_listed(tmp_path: Path) -> None:
    place = layouts.write_mmbench(tmp_path)
    path = place / "mmbench_dev_20230712.tsv"
    put(path, path.read_text(encoding="utf-8").replace("\tA\tbaking", "\t\tbaking"))
    found = benchmark("mmbench", place)
    assert [(one.id, one.reason.partition(":")[0]) for one in found.missing] == [
        ("mmbench/1", "the row has no right answer among its options")
    ]


def test_combine_json_named_combined_json(tmp_path: Path) -> None:
    place = layouts.write_mssbench(tmp_path)
    first = benchmark("mssbench", place)
    (place / "combine.json").rename(place / "combined.json")
    again = benchmark("mssbench", place)
    assert again.samples == first.samples
    assert again.about.sha256 == {"combined.json": first.about.sha256["combine.json"]}
    (place / "combined.json").unlink()
    with pytest.raises(
        DataError, match=r"no 'combine.json' of MSSBench: looked in .* for combine.json, combined.json\."
    ):
        benchmark("mssbench", place)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"chat": {}}, "expected a list of objects under 'chat'"),
        ({"chat": [{"queries": []}]}, "chat, row 1: expected as many texts in queries, at least one"),
        (
            {"embodied": [{"safe_instructions": ["a", "b"], "unsafe_instructions": ["c"]}]},
            "embodied, row 1: expected as many",
        ),
    ],
)
def test_a_combine_json_that_lacks_what_is_asked(change: dict[str, object], said: str, tmp_path: Path) -> None:
    place = layouts.write_mssbench(tmp_path)
    put_json(place / "combine.json", change)
    with pytest.raises(DataError, match=said):
        benchmark("mssbench", place, part=next(iter(change)))
