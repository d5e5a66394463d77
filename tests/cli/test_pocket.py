from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from sightguard.cli.pocket import _flatten
from tests.cli.command import hears_ctrl_c, sightguard

ROOT = Path(__file__).resolve().parents[2]


def test_info_shows_the_figures_and_says_what_they_are_not() -> None:
    status, stdout, _ = sightguard("pocket", "info")
    assert status == 0
    assert "no evidence about large models" in stdout


def test_info_as_json_names_the_folder() -> None:
    figures = sightguard("pocket", "info", "pocket-1", "--json").json
    assert figures["name"] == "pocket-1"
    assert figures["folder"].endswith("pocket-1")


def test_an_unknown_model_says_what_is_close() -> None:
    status, stdout, stderr = sightguard("pocket", "info", "poket")
    assert (status, stdout) == (2, "")
    assert "Did you mean 'pocket'?" in stderr


def test_nested_figures_become_dotted_rows() -> None:
    figures = {"a": {"b": 0.12345, "c": "x"}, "d": [1, 2]}
    assert _flatten(figures) == [("a.b", "0.123"), ("a.c", "x"), ("d", "[1, 2]")]


def test_a_folder_without_figures_says_what_is_missing(tmp_path: Path) -> None:
    status, stdout, stderr = sightguard("pocket", "info", str(tmp_path))
    assert (status, stdout) == (2, "")
    assert f"the folder '{tmp_path}' holds no pocket.json" in stderr


def test_a_folder_with_figures_is_shown(tmp_path: Path) -> None:
    (tmp_path / "pocket.json").write_text('{"seed": 9}')
    assert sightguard("pocket", "info", str(tmp_path), "--json").json["seed"] == 9


def test_a_shipped_name_comes_before_a_folder_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "pocket-1").mkdir()
    (tmp_path / "pocket-1" / "pocket.json").write_text('{"seed": 9}')
    assert sightguard("pocket", "info", "pocket-1", "--json", folder=tmp_path).json["seed"] == 1
    assert sightguard("pocket", "info", "./pocket-1", "--json", folder=tmp_path).json["seed"] == 9


def test_an_interrupted_build_ends_with_status_130_and_the_same_command_finishes_it(tmp_path: Path) -> None:
    out = tmp_path / "model"
    command = [sys.executable, "-m", "tests.cli.tiny_pocket", "pocket", "build", "--seed", "3", "--out", str(out)]
    with subprocess.Popen(
        [*command, "--hold"], cwd=ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=hears_ctrl_c
    ) as building:
        assert building.stderr is not None
        assert "1/" in building.stderr.readline(), "the first step is reported"
        building.send_signal(signal.SIGINT)
        said = building.stderr.read()
    assert building.returncode == 130
    assert said.splitlines()[-1].startswith("error: interrupted.")
    assert not out.exists()
    again = subprocess.run([*command, "--json"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert again.stderr.splitlines()[0].startswith("vision  2/5"), "the first step is not done twice"
    assert json.loads(again.stdout)["folder"] == str(out)
    assert (out / "model.safetensors").is_file()
