"""Prompt files: what is read, and what is refused with the line that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightguard.data.prompts import read_pairs, read_prompts
from sightguard.errors import DataError


def test_pairs_are_read_alike_from_csv_and_jsonl(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('harmful,harmless\n"How, then?",How now?\nWie?,Was?\n', encoding="utf-8")
    (tmp_path / "a.jsonl").write_text(
        '{"harmful": "How, then?", "harmless": "How now?"}\n\n{"harmful": "Wie?", "harmless": "Was?"}\n',
        encoding="utf-8",
    )
    texts = [[(h.text, b.text) for h, b in read_pairs(tmp_path / name)] for name in ("a.csv", "a.jsonl")]
    assert texts[0] == texts[1] == [("How, then?", "How now?"), ("Wie?", "Was?")]


def test_labels_follow_the_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("harmful,harmless\nx,y\n")
    ((harmful, harmless),) = read_pairs(tmp_path / "a.csv")
    assert (harmful.harmful, harmless.harmful) == (True, False)


def test_pictures_are_found_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "What is it?", "image": "cat.png"}\n{"prompt": "Hello"}\n')
    first, second = read_prompts(tmp_path / "a.jsonl", harmful=False)
    assert first.images[0].path == tmp_path / "cat.png"
    assert second.images == ()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "x", "ends in '.txt'; expected one of .csv, .jsonl"),
        ("a.csv", "harmful,harmless\n", "holds no rows"),
        (
            "a.csv",
            "harmful,benign\nx,y\n",
            "line 2: expected text in column 'harmless'; columns there: harmful, benign",
        ),
        ("a.csv", "harmful,harmless\nx,\n", "line 2: expected text in column 'harmless'"),
        ("a.jsonl", '{"harmful": "x", "harmless": "y"}\n{oops\n', "line 2: not JSON"),
        ("a.jsonl", '["x"]\n', "line 1: expected a JSON object, got list"),
    ],
)
def test_a_bad_file_is_refused_with_the_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message.replace("(", r"\(")):
        read_pairs(tmp_path / name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read '.*nowhere\.csv'"):
        read_pairs(tmp_path / "nowhere.csv")
