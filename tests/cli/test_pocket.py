from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from sightguard.cli.pocket import _flatten
from tests.cli.command import sightguard


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


def test_an_interrupted_build_ends_with_status_130_and_leaves_nothing_finished(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sightguard", "pocket", "build", "--seed", "0", "--out", str(tmp_path / "model")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as building:
        assert building.stderr is not None
        assert "1/" in building.stderr.readline(), "the first step is reported"
        building.send_signal(signal.SIGINT)
        said = building.stderr.read()
    assert building.returncode == 130
    assert said.splitlines()[-1].startswith("error: interrupted.")
    assert not (tmp_path / "model").exists()
