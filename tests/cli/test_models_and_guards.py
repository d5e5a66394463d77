"""`generate`, `fit` and `demo`: what they print, and what they say of input that cannot be meant."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sightguard.cli.app import run
from sightguard.data.blank import blank
from sightguard.models.vlm import VLM
from sightguard.pocket import world
from sightguard.steering.steer import steer
from sightguard.steering.vlm_guard import VlmGuard
from sightguard.types import Image, Sample
from tests import tiny


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guard") / "guard"
    return VlmGuard.fit(VLM.load("pocket"), world.anchors(40), gate="always").save_pretrained(folder)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "blank.png"
    path.write_bytes(blank(48, 48).read())
    return path


def _fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    status = run([str(argument) for argument in arguments])
    return status, capsys.readouterr().err


def test_generate_answers_as_the_library_does_with_and_without_a_guard(
    capsys: pytest.CaptureFixture[str], guard: Path, picture: Path
) -> None:
    asked = world.settings("validation", 30)["blank_image"]
    vlm = VLM.load("pocket")
    safe = steer(vlm, VlmGuard.from_pretrained(guard))
    differing = next(s for s in asked if vlm([s])[0].text != safe([s])[0].text)
    sample = Sample.of(differing.text, Image(path=picture))
    command = [
        "generate",
        "pocket",
        "--prompt",
        sample.text,
        "--image",
        str(picture),
        "--max-new-tokens",
        "64",
        "--json",
    ]
    found = []
    for more in ([], ["--guard", str(guard)]):
        assert run([*command, *more]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert [answer["text"] for answer in found] == [model([sample])[0].text for model in (vlm, safe)]
    assert [answer["methods"] for answer in found] == [[], ["vlm_guard"]]


def test_an_unknown_model_says_what_is_close(capsys: pytest.CaptureFixture[str]) -> None:
    status, said = _fails(capsys, "generate", "pockt", "--prompt", "hello")
    assert status == 2
    assert "no model 'pockt'. Did you mean 'pocket'?" in said


def test_a_missing_picture_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, said = _fails(capsys, "generate", "pocket", "--prompt", "hello", "--image", tmp_path / "none.png")
    assert status == 1
    assert "none.png" in said


@pytest.mark.parametrize(
    "content", [b"no picture at all", blank(48, 48).read()[:60]], ids=["not an image", "truncated"]
)
def test_a_file_that_is_no_whole_picture_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "bad.png").write_bytes(content)
    status, said = _fails(capsys, "generate", "pocket", "--prompt", "hello", "--image", tmp_path / "bad.png")
    assert status == 1
    assert "error: sample 'prompt': " in said


def test_a_guard_made_for_another_model_is_refused(capsys: pytest.CaptureFixture[str], guard: Path) -> None:
    status, said = _fails(capsys, "generate", "pocket-1", "--prompt", "hello", "--guard", guard)
    assert status == 1
    assert "this guard was made for another model: weights: the decoder's values differ" in said


def test_a_folder_that_is_no_guard_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, said = _fails(capsys, "generate", "pocket", "--prompt", "hello", "--guard", tmp_path / "none")
    assert status == 1
    assert "expected a folder with guard.json and directions.safetensors" in said


def test_a_model_without_vision_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    tiny.llava().get_decoder().save_pretrained(tmp_path / "text")
    status, said = _fails(capsys, "generate", tmp_path / "text", "--prompt", "hello")
    assert status == 1
    assert "has no vision part" in said


def test_fit_writes_a_guard_that_closes_the_gap_on_validation(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pairs = tmp_path / "pairs.jsonl"
    rows = [{"harmful": h.text, "harmless": b.text} for h, b in world.anchors(40)]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run(["fit", "pocket", "--out", str(tmp_path / "guard"), "--json"]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert told["chosen"]["attack_success"] <= told["undefended"]["attack_success"] / 2
    made = VlmGuard.from_pretrained(tmp_path / "guard")
    assert list(made.layers) == told["chosen"]["layers"]
    assert made.calibration["curve"]["threshold"]


def test_fitting_another_model_asks_for_pairs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, said = _fails(capsys, "fit", "someone/some-vlm", "--out", tmp_path / "guard")
    assert status == 2
    assert "needs --pairs FILE" in said


def test_fit_refuses_a_folder_that_holds_something_before_it_works(
    capsys: pytest.CaptureFixture[str], guard: Path
) -> None:
    status, said = _fails(capsys, "fit", "pocket", "--out", guard)
    assert status == 1
    assert "already holds a run" in said


@pytest.mark.parametrize("option", ["--reference", "--gate", "--kind", "--phase"])
def test_an_unknown_option_of_the_method_lists_what_there_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, option: str
) -> None:
    status, said = _fails(capsys, "fit", "pocket", "--out", tmp_path / "guard", option, "projct")
    assert status == 2
    assert "Known: " in said


def test_a_layer_that_the_model_does_not_have_is_named() -> None:
    from sightguard.errors import UnknownName

    vlm = VLM.load("pocket")
    made = VlmGuard.fit(vlm, world.anchors(10))
    with pytest.raises(UnknownName, match="no layer '60'"):
        replace(made, layers=(60,))


def test_the_demo_refuses_a_model_that_does_not_know_its_words(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status, said = _fails(capsys, "demo", "--model", tmp_path, "--out", tmp_path / "out")
    assert status == 2
    assert "holds no pocket.json" in said
