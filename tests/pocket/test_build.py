"""The build: it resumes after SIGKILL to the same weights, and never passes off or overwrites what is not its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
from safetensors.torch import load_file

from sightguard.artifacts import read_json
from sightguard.errors import ArtifactError, OutputError
from sightguard.pocket.build import build
from sightguard.pocket.card import model_card
from tests.pocket.tiny_recipe import TINY

PROGRAM = [sys.executable, str(Path(__file__).with_name("tiny_recipe.py"))]


def run(out: Path, stop_at: str | None = None) -> list[str]:
    """Run the build in a process of its own; SIGKILL it when it prints `stop_at`."""
    lines: list[str] = []
    with subprocess.Popen([*PROGRAM, str(out)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.strip())
            if lines[-1] == stop_at:
                process.send_signal(signal.SIGKILL)
                break
        process.wait()
    assert process.returncode == (0 if stop_at is None else -signal.SIGKILL)
    return lines


def losses(folder: Path) -> dict[str, float]:
    return {name: stage["loss"] for name, stage in read_json(folder / "pocket.json")["stages"].items()}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "tiny"
    run(out)
    return out


@pytest.mark.parametrize(
    "stops",
    [
        ("visual 3",),
        pytest.param(("vision 3",), marks=pytest.mark.slow),
        pytest.param(("helpful 5",), marks=pytest.mark.slow),
        pytest.param(("aligned 2", "projector 1", "visual 3"), marks=pytest.mark.slow),
        pytest.param(("visual 5",), marks=pytest.mark.slow),
    ],
)
def test_a_killed_build_goes_on_to_the_same_weights(
    stops: tuple[str, ...], uninterrupted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tiny"
    for stop in stops:
        run(out, stop)
        assert not out.exists()
    lines = run(out)
    assert "vision 1" not in lines
    whole, resumed = (load_file(folder / "model.safetensors") for folder in (uninterrupted, out))
    assert whole.keys() == resumed.keys()
    assert all(tensor.equal(resumed[name]) for name, tensor in whole.items())
    assert losses(out) == losses(uninterrupted)
    assert not out.with_name("tiny.building").exists()


def test_a_finished_folder_loads_with_transformers_alone_and_is_not_built_twice(uninterrupted: Path) -> None:
    names = {path.name for path in uninterrupted.iterdir()}
    assert {"config.json", "model.safetensors", "pocket.json", "README.md", "tokenizer.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]
    before = (uninterrupted / "model.safetensors").stat().st_mtime_ns
    build(3, uninterrupted, recipe=TINY)
    assert (uninterrupted / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(OutputError, match="already holds a finished model of seed 3"):
        build(4, uninterrupted, recipe=TINY)


def test_a_build_into_the_working_folder_shows_how_far_each_part_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    shown: list[tuple[str, int, int, float | None]] = []
    made = build(3, Path(), recipe=TINY, prompts=3, threads=1, progress=lambda *step: shown.append(step))
    assert made == here
    assert model_card(read_json(here / "pocket.json")) == (here / "README.md").read_text()
    assert [step for step in shown if step[0] == "evaluation"] == [("evaluation", i, 3, None) for i in range(4)]
    assert [done for stage, done, _, _ in shown if stage == "vision"] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("damaged", ["out/pocket.json", "out.building/about.json"])
def test_damaged_figures_are_told_by_name(damaged: str, tmp_path: Path) -> None:
    path = tmp_path / damaged
    path.parent.mkdir()
    path.write_text('{"seed": 0, "di')
    with pytest.raises(ArtifactError, match=rf"{path.name} is no JSON"):
        build(0, tmp_path / "out", recipe=TINY)
    assert path.read_text() == '{"seed": 0, "di'


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"missing or empty; it holds letter\.txt"):
        build(0, tmp_path, recipe=TINY)
    assert (tmp_path / "letter.txt").read_text() == "mine"


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="found a file"):
        build(0, tmp_path / "out", recipe=TINY)


def test_a_half_made_build_of_another_seed_is_refused(tmp_path: Path) -> None:
    half = tmp_path / "out.building"
    half.mkdir()
    (half / "about.json").write_text('{"seed": 1, "recipe": "other"}')
    with pytest.raises(OutputError, match="found seed 1, recipe other"):
        build(0, tmp_path / "out", recipe=TINY)


def test_a_parent_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="needs to write"):
        build(0, tmp_path / "file" / "out", recipe=TINY)
