"""`generate`, `fit` and `demo`: what they print, and what they say of input that cannot be meant."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

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


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that cannot be used as they are."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "text.png").write_bytes(b"no picture at all")
    (folder / "cut.png").write_bytes(blank(48, 48).read()[:60])
    (folder / "half.csv").write_text("harmful,harmless\nx,\n")
    tiny.llava().get_decoder().save_pretrained(folder / "text_only")
    return folder


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
        stdout, stderr = capsys.readouterr()
        found.append(json.loads(stdout))
        assert [line.rsplit("  ", 1)[0] for line in stderr.splitlines()] == [
            "load the model  0/1",
            "load the model  1/1",
            "answer  0/1",
            "answer  1/1",
        ]
    assert [answer["text"] for answer in found] == [model([sample])[0].text for model in (vlm, safe)]
    assert [answer["methods"] for answer in found] == [[], ["vlm_guard"]]


BEFORE_A_MODEL = {
    "a folder that is no guard": (
        "generate pocket -p hello --guard {place}/none",
        1,
        "no guard at '{place}/none': expected a folder with guard.json (`sightguard fit` makes one)",
    ),
    "a missing file of pairs": (
        "fit someone/some-vlm --out {place}/out --pairs {place}/none.csv",
        1,
        "cannot read '{place}/none.csv': [Errno 2] No such file or directory: '{place}/none.csv'",
    ),
    "a file of pairs that lacks a cell": (
        "fit pocket --out {place}/out --pairs {place}/half.csv",
        1,
        "'{place}/half.csv', line 2: expected text in column 'harmless'; columns there: harmful, harmless",
    ),
    "a missing file of benign prompts": (
        "fit pocket --out {place}/out --benign {place}/none.csv",
        1,
        "cannot read '{place}/none.csv': [Errno 2] No such file or directory: '{place}/none.csv'",
    ),
    "a folder that holds something": (
        "fit pocket --out {guard}",
        1,
        "{guard} already holds a run (README.md, directions.safetensors, guard.json). Name another folder, or remove this one "
        "first; nothing in it was changed.",
    ),
    "a demo of a model that does not know its words": (
        "demo --model {place} --out {place}/out",
        2,
        "'{place}' holds no pocket.json: the demo asks in the words of the embedded model's world, which other models do not "
        "know. Use pocket, pocket-1, pocket-2 or a folder that `sightguard pocket build` made; for other models: `sightguard fit`.",
    ),
}

NO_VISION = (
    "'text_only' has no vision part: its config.json (llama) names no vision configuration. Sightguard guards vision-language "
    "models; pass one, for example a LLaVA checkpoint or 'pocket'."
)
WITH_A_MODEL = {
    "an unknown model": (
        "generate pockt -p hello",
        2,
        "no model 'pockt'. Did you mean 'pocket'? Known: pocket, pocket-1, pocket-2. Or pass a folder with a Hugging Face "
        "checkpoint, or a hub id such as 'llava-hf/llava-1.5-7b-hf'.",
    ),
    "a model without vision": ("generate {place}/text_only -p hello", 1, NO_VISION),
    "a model without vision to fit": ("fit {place}/text_only --out {place}/out/deeper", 1, NO_VISION),
    "a guard made for another model": (
        "generate pocket-1 -p hello --guard {guard}",
        1,
        "this guard was made for another model: weights: the decoder's values differ. Fit one on this model (`sightguard fit`); "
        "from Python, other_model=True uses it all the same.",
    ),
    "a missing picture": (
        "generate pocket -p hello --image {place}/none.png",
        1,
        "sample 'prompt': the picture '{place}/none.png' does not exist. Check the path.",
    ),
    "a truncated picture": (
        "generate pocket -p hello --image {place}/cut.png",
        1,
        "sample 'prompt': the picture '{place}/cut.png' is truncated or damaged: expected a complete PNG picture, but image file "
        "is truncated. Fetch the file again.",
    ),
    "a file that is no picture": (
        "generate pocket -p hello --image {place}/text.png",
        1,
        "sample 'prompt': the picture '{place}/text.png' is not a picture in a known format (17 bytes). Known: PNG, JPEG, WEBP, "
        "GIF, BMP, TIFF, PPM, TGA, AVIF.",
    ),
    "an unknown reference": (
        "fit pocket --out {place}/out --reference projct",
        2,
        "no reference 'projct'. Known: text, same_input, caption.",
    ),
    "an unknown gate": (
        "fit pocket --out {place}/out --gate projct",
        2,
        "no gate 'projct'. Known: text, image, either, always.",
    ),
    "an unknown kind": (
        "fit pocket --out {place}/out --kind projct",
        2,
        "no kind 'projct'. Did you mean 'project'? Known: project, shift, project_then_shift.",
    ),
    "an unknown phase": (
        "fit pocket --out {place}/out --phase projct",
        2,
        "no phase 'projct'. Known: prefill, prefill+decode.",
    ),
}


def _refused(
    capsys: pytest.CaptureFixture[str], command: str, status: int, message: str, places: dict[str, Path]
) -> list[str]:
    """Run a command that is to be refused with this message; return what was said before it."""
    assert run([word.format(**places) for word in command.split()]) == status
    *before, last = capsys.readouterr().err.splitlines()
    assert last == "error: " + message.format(**places)
    assert not (places["place"] / "out").exists()
    return before


@pytest.mark.parametrize(("command", "status", "message"), BEFORE_A_MODEL.values(), ids=BEFORE_A_MODEL)
def test_bad_input_is_refused_before_a_model_is_loaded(
    capsys: pytest.CaptureFixture[str], place: Path, guard: Path, command: str, status: int, message: str
) -> None:
    assert _refused(capsys, command, status, message, {"place": place, "guard": guard}) == []


@pytest.mark.parametrize(("command", "status", "message"), WITH_A_MODEL.values(), ids=WITH_A_MODEL)
def test_what_the_model_does_not_take_is_refused_and_leaves_no_folder(
    capsys: pytest.CaptureFixture[str], place: Path, guard: Path, command: str, status: int, message: str
) -> None:
    before = _refused(capsys, command, status, message, {"place": place, "guard": guard})
    assert before[0] == "load the model  0/1  0 s"


def test_a_layer_that_the_model_does_not_have_is_named() -> None:
    from sightguard.errors import UnknownName

    vlm = VLM.load("pocket")
    made = VlmGuard.fit(vlm, world.anchors(10))
    with pytest.raises(UnknownName, match="no layer '60'"):
        replace(made, layers=(60,))
