"""`sightguard diagnose`: what it writes, and what it says of input that cannot be meant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sightguard.cli.app import run
from sightguard.diagnose.pictures import picture, shows
from sightguard.errors import PictureError, UnknownName
from sightguard.pocket import world
from tests import tiny


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("diagnose") / "report"
    assert run(["diagnose", "pocket", "--out", str(out)]) == 0
    return out


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    rows = [{"harmful": bad.text, "harmless": good.text} for bad, good in world.anchors(12)]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_folder_holds_the_figures_and_the_page(made: Path) -> None:
    assert sorted(path.name for path in made.iterdir()) == ["diagnose.html", "diagnose.json"]
    kept = json.loads((made / "diagnose.json").read_text())
    assert (kept["schema"], kept["n_pairs"], len(kept["layers"])) == (1, 100, 6)
    assert kept["refusal"]["judge"] == "pocket-grammar"
    assert kept["refusal"]["harmful"]["image"]["n"] == 100
    assert kept["recommendation"]["method"] == "vlm_guard"
    assert kept["provenance"]["image"] == "blank"
    page = (made / "diagnose.html").read_text()
    assert page.count("<svg") == 4
    assert "VLM-Guard with a text gate" in page


def test_the_terminal_shows_a_table_the_refusals_and_the_recommendation(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, pairs: Path
) -> None:
    out = tmp_path / "report"
    assert run(["diagnose", "pocket", "--pairs", str(pairs), "--image", "noise", "--out", str(out)]) == 0
    said = capsys.readouterr()
    for words in (
        "AUROC text", "cosine text-image", "12 pairs", "image (noise)", "refused, by judge refusal_phrases: harmful: ", "recommended: ",
    ):  # fmt: skip
        assert words in said.out
    assert "read states  48/48" in said.err
    assert "answers  48/48" in said.err
    assert f"report: {out / 'diagnose.html'}" in said.err


def test_without_answers_a_picture_of_ones_own_is_read_and_nothing_is_asked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, pairs: Path
) -> None:
    (tmp_path / "mine.png").write_bytes(tiny.picture().read())
    command = ["diagnose", "pocket", "--pairs", str(pairs), "--image", str(tmp_path / "mine.png"), "--no-answers"]
    assert run([*command, "--out", str(tmp_path / "report")]) == 0
    said = capsys.readouterr()
    assert "refusals were not counted: the model was not asked" in said.out
    assert "answers  0/" not in said.err


def test_a_seed_repeats_the_figures(capsys: pytest.CaptureFixture[str], tmp_path: Path, pairs: Path) -> None:
    told = []
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        command = ["diagnose", "pocket-1", "--pairs", str(pairs), "--no-answers", "--seed", seed, "--json"]
        assert run([*command, "--out", str(tmp_path / name)]) == 0
        told.append(json.loads(capsys.readouterr().out)["layers"])
        assert json.loads((tmp_path / name / "diagnose.json").read_text())["layers"] == told[-1]
    assert told[0] == told[1] != told[2]


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("blnk", 2, "no picture 'blnk'. Did you mean 'blank'? Known: blank, noise. Or pass the path of a picture."),
        ("no/such.png", 1, "the picture 'no/such.png' does not exist. Check the path."),
        ("such.png", 1, "the picture 'such.png' does not exist"),
        ("pairs.jsonl", 1, "is not a picture in a known format"),
        (".", 1, "is a folder; expected one picture file"),
    ],
)
def test_a_picture_that_cannot_be_meant_is_refused_before_the_model_is_loaded(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pairs: Path, name: str, status: int, message: str
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run(["diagnose", "no/model", "--image", name, "--out", "report"]) == status
    assert message in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_too_few_pairs_and_a_missing_file_are_refused_and_nothing_is_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, pairs: Path
) -> None:
    few, out = tmp_path / "few.jsonl", tmp_path / "report"
    few.write_text("".join(pairs.read_text().splitlines(keepends=True)[:7]))
    assert run(["diagnose", "pocket", "--pairs", str(few), "--out", str(out)]) == 2
    assert "a diagnosis needs at least 8 pairs, to fit on some and score others; got 7" in capsys.readouterr().err
    assert run(["diagnose", "pocket", "--pairs", str(tmp_path / "none.csv"), "--out", str(out)]) == 1
    assert "cannot read" in capsys.readouterr().err
    assert not out.exists()


def test_a_folder_that_holds_a_run_is_left_as_it_is(capsys: pytest.CaptureFixture[str], made: Path) -> None:
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    assert run(["diagnose", "pocket", "--out", str(made)]) == 1
    assert "already holds a run (diagnose.html, diagnose.json)" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in made.iterdir()} == before


def test_named_pictures_show_nothing_and_files_something(tmp_path: Path) -> None:
    assert [shows(name) for name in ("blank", "noise", "mine.png")] == [False, False, True]
    assert picture("noise", seed=1) == picture("noise", seed=1) != picture("noise", seed=2)
    assert len({picture("blank").sha256, picture("noise").sha256}) == 2
    with pytest.raises(UnknownName):
        picture("nose")
    with pytest.raises(PictureError):
        picture(str(tmp_path / "none.png"))
