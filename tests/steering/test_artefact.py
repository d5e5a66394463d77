from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sightguard.artifacts import read_tensors, write_tensors
from sightguard.errors import ArtifactError, OutputError
from sightguard.steering.vlm_guard import VlmGuard
from tests.steering import made


@pytest.fixture
def guard() -> VlmGuard:
    vectors = torch.stack([made.orthonormal(3, 8, seed) for seed in range(2)])
    known = replace(made.directions(vectors, [(0.0, 1.0), (2.0, 3.0)]), provenance={"pairs": 7})
    return VlmGuard(
        known, made.FINGERPRINT, (0, 1), m=2, alpha=1.5, kind="shift", reference="caption", gate="either",
        threshold="calibrated", thresholds={0: (1.0, 2.0), 1: (3.0, 4.5)}, phase="prefill+decode", strength=0.5,
        caption_prompt="what ?", calibration={"curve": [1, 2]},
    )  # fmt: skip


@pytest.fixture
def folder(guard: VlmGuard, tmp_path: Path) -> Path:
    return guard.save_pretrained(tmp_path / "guard")


def test_a_guard_comes_back_as_it_was(guard: VlmGuard, folder: Path) -> None:
    loaded = VlmGuard.from_pretrained(folder)
    assert replace(loaded, directions=guard.directions) == guard
    for name in ("vectors", "energy", "means"):
        assert torch.equal(getattr(loaded.directions, name), getattr(guard.directions, name))
    assert (loaded.directions.layers, loaded.directions.provenance) == ((0, 1), {"pairs": 7})


def test_a_guard_is_json_and_safetensors_and_nothing_else(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "directions.safetensors", "guard.json"]
    known = json.loads((folder / "guard.json").read_text())
    assert {"schema", "method", "sightguard", "parameters", "calibration", "fingerprint"} <= known.keys()
    for path in folder.iterdir():
        assert not path.read_bytes().startswith((b"\x80", b"PK")), "looks like a pickle or a zip"


def test_a_folder_that_holds_something_is_not_written_over(guard: VlmGuard, folder: Path) -> None:
    with pytest.raises(OutputError, match="already holds"):
        guard.save_pretrained(folder)


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        known = json.loads((folder / "guard.json").read_text())
        change(known)
        (folder / "guard.json").write_text(json.dumps(known))

    return edit


def without_layer(folder: Path) -> None:
    arrays = read_tensors(folder / "directions.safetensors")
    write_tensors(folder / "directions.safetensors", {name: array[:1] for name, array in arrays.items()})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "guard.json").unlink(), r"cannot read .*guard\.json"),
        (lambda folder: (folder / "guard.json").write_text('{"schema": 1'), r"guard\.json is no JSON"),
        (lambda folder: (folder / "guard.json").write_text("[]"), "should hold a JSON object"),
        (lambda folder: (folder / "directions.safetensors").unlink(), r"no file .*directions\.safetensors"),
        (lambda folder: (folder / "directions.safetensors").write_bytes(b"short"), "cannot be read as safetensors"),
        (without_layer, "does not fit guard.json: 2 layers there"),
        (edited(lambda known: known.update(schema=9)), "format number 9; this version of Sightguard reads 1"),
        (edited(lambda known: known.update(method="cmrm")), "holds the method 'cmrm'; expected 'vlm_guard'"),
        (edited(lambda known: known.pop("fingerprint")), "missing, unknown or wrong: 'fingerprint'.*sightguard fit"),
        (edited(lambda known: known["fingerprint"].pop("dtype")), r"fingerprint .* lacks \['dtype'\]"),
        (edited(lambda known: known["parameters"].update(beta=1)), "unknown or wrong: .*'beta'"),
        (edited(lambda known: known["parameters"].update(kind="projekt")), "no kind 'projekt'. Did you mean 'project'"),
        (
            edited(lambda known: known["parameters"].update(thresholds={"0": ["a", "b"]})),
            "unknown or wrong: could not convert",
        ),
        (edited(lambda known: known["parameters"].update(m=9)), "m must be between 1 and 3"),
        (edited(lambda known: known.update(parameters=3)), "missing, unknown or wrong"),
    ],
)
def test_a_broken_guard_says_what_is_wrong(folder: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(folder)
    with pytest.raises(ArtifactError, match=message):
        VlmGuard.from_pretrained(folder)


def as_format_1(folder: Path) -> None:
    """Turn a guard folder into what the first format was: thresholds as a list beside the edited layers."""
    known = json.loads((folder / "guard.json").read_text())
    parameters = known["parameters"]
    parameters["thresholds"] = [parameters["thresholds"][str(layer)] for layer in parameters["layers"]]
    (folder / "guard.json").write_text(json.dumps({**known, "schema": 1}))


def test_a_guard_of_the_first_format_is_read_as_the_same_guard(guard: VlmGuard, folder: Path) -> None:
    as_format_1(folder)
    loaded = VlmGuard.from_pretrained(folder)
    assert replace(loaded, directions=guard.directions) == guard
    again = loaded.save_pretrained(folder.parent / "again")
    assert json.loads((again / "guard.json").read_text())["schema"] == 2


def test_a_guard_of_the_first_format_without_thresholds_is_read(guard: VlmGuard, tmp_path: Path) -> None:
    folder = replace(guard, threshold="midpoint", thresholds={}).save_pretrained(tmp_path / "old")
    known = json.loads((folder / "guard.json").read_text())
    known["parameters"]["thresholds"] = []
    (folder / "guard.json").write_text(json.dumps({**known, "schema": 1}))
    assert VlmGuard.from_pretrained(folder).limits() == ((0.5, 0.5), (2.5, 2.5))


def test_the_card_tells_method_model_parameters_and_that_nothing_is_promised(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    for part in (
        "arxiv.org/abs/2502.10486", "made/by-hand", "- layers: [0, 1]", "- alpha: 1.5", "- pairs: 7",
        "No false-refusal rate is promised", "Not measured", "## Limits",
    ):  # fmt: skip
        assert part in text


def test_a_missing_folder_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no guard at .*nowhere.*sightguard fit"):
        VlmGuard.from_pretrained(tmp_path / "nowhere")
