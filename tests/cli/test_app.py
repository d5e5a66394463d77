from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import sightguard as package
from sightguard import catalog
from sightguard.cli import app as application
from sightguard.errors import DataError, UsageError
from tests.cli.command import sightguard

HEAVY = ("torch", "transformers", "numpy", "matplotlib")
LOADED = f"import sys; sys.stderr.write(' '.join(m for m in {HEAVY!r} if m in sys.modules))"


@pytest.mark.parametrize(
    "first",
    [
        "import sightguard",
        "import sightguard; sightguard.Sample; sightguard.Image",
        "import sightguard; sightguard.anchors(); sightguard.harmless_prompts()",
        "from sightguard.cli import run; run(['--help'])",
        "from sightguard.cli import run; run(['--version'])",
        "from sightguard.cli import run; run(['methods'])",
        "from sightguard.cli import run; run(['pull', '--help'])",
        "from sightguard.cli import run; run(['pocket', 'build', '--help'])",
        "import sightguard.doctor.report",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(first: str) -> None:
    done = subprocess.run([sys.executable, "-c", f"{first}; {LOADED}"], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_the_check_above_sees_torch_when_it_is_there() -> None:
    done = subprocess.run([sys.executable, "-c", f"import torch; {LOADED}"], capture_output=True, text=True, check=True)
    assert "torch" in done.stderr


def test_every_public_name_can_be_imported() -> None:
    for name in package.__all__:
        assert getattr(package, name).__name__ == name


def test_an_unknown_public_name_says_what_there_is() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Vlm'. Public names: VLM, steer"):
        package.Vlm  # noqa: B018


def test_version() -> None:
    assert sightguard("--version") == (0, f"sightguard {package.__version__}\n", "")


def test_help_lists_every_verb() -> None:
    status, stdout, stderr = sightguard("--help")
    assert (status, stderr) == (0, "")
    for verb in ("diagnose", "methods", "doctor", "pull", "pocket"):
        assert re.search(rf"\b{verb}\b", stdout)


def test_no_verb_shows_the_help_and_fails() -> None:
    status, stdout, stderr = sightguard()
    assert status == 2
    assert "Usage: sightguard" in stdout + stderr


def test_an_unknown_verb_says_what_is_close() -> None:
    status, stdout, stderr = sightguard("method")
    assert (status, stdout) == (2, "")
    assert stderr.startswith("error: No such command 'method'. Did you mean 'methods'?")


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("--nope", "sightguard"),
        ("method", "sightguard"),
        ("demo", "sightguard demo"),
        ("fit pocket --out", "sightguard fit"),
        ("generate pocket --prompt hello --nope", "sightguard generate"),
        ("pocket buidl", "sightguard pocket"),
        ("pocket build", "sightguard pocket build"),
    ],
)
def test_a_usage_error_points_to_the_help_of_its_verb(
    given: str, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert application.run(given.split()) == 2
    assert capsys.readouterr().err.endswith(f" `{path} --help` lists what there is.\n")
    assert application.run([*path.split()[1:], "--help"]) == 0


@pytest.mark.parametrize(
    "given",
    [
        "demo --out x",
        "diagnose pocket --out x",
        "fit pocket --out x",
        "generate pocket -p hello",
        "pocket build --out x",
    ],
)
def test_a_negative_seed_is_refused_at_once(
    given: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert application.run([*given.split(), "--seed", "-1"]) == 2
    assert "Invalid value for '--seed': " in capsys.readouterr().err


def test_with_json_an_error_is_json_too() -> None:
    done = sightguard("method", "--json")
    assert done.status == 2
    assert done.json["error"]["type"] == "UsageError"
    assert done.stderr == f"error: {done.json['error']['message']}\n"


@pytest.fixture
def verbs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three verbs that end badly."""

    def bad_data() -> None:
        raise DataError("line 3 is no JSON")

    def bad_argument() -> None:
        raise UsageError("--seed must not be negative")

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(application.app, "registered_commands", [*application.app.registered_commands])
    for verb in (bad_data, bad_argument, interrupted):
        application.app.command(verb.__name__)(verb)


@pytest.mark.usefixtures("verbs")
@pytest.mark.parametrize(
    ("verb", "status", "message"),
    [
        ("bad_data", 1, "line 3 is no JSON"),
        ("bad_argument", 2, "--seed must not be negative"),
        ("interrupted", 130, "interrupted. Nothing half-written was left as finished; run the same command again."),
    ],
)
def test_how_a_verb_ends_decides_the_status(
    verb: str, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert application.run([verb]) == status
    assert capsys.readouterr() == ("", f"error: {message}\n")


def test_methods_lists_the_catalogue_as_json() -> None:
    entries = sightguard("methods", "--json").json
    listed = {(entry["kind"], entry["name"]) for entry in entries}
    assert {
        ("method", "vlm_guard"),
        ("baseline", "self_reminder"),
        ("judge", "rubric"),
        ("attack", "figstep"),
    } <= listed


def test_methods_lists_all_that_the_bench_takes() -> None:
    from sightguard.attacks.catalog import OWN as ATTACKS
    from sightguard.bench.defenses import OWN as DEFENSES
    from sightguard.bench.suite import ON_MODEL

    listed = {kind: set(catalog.known(kind)) for kind in get_args(catalog.Kind)}
    assert {*ATTACKS, *ON_MODEL} <= listed["attack"]
    assert set(DEFENSES) <= listed["method"] | listed["trained"] | listed["baseline"] | listed["defense"]
    assert {entry["name"] for entry in sightguard("methods", "--json").json} == set().union(*listed.values())


def test_methods_lists_the_catalogue_as_a_table() -> None:
    status, stdout, _ = sightguard("methods")
    assert status == 0
    assert "arXiv 2502.10486" in stdout
