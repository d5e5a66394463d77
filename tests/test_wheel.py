"""Wheel and source archive as a stranger meets them: built, installed beside nothing of ours, and run outside the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("src", "pyproject.toml", "README.md", "LICENSE", ".gitignore")


def run(*command: str, folder: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NO_COLOR": "1", "PYTHONWARNINGS": "ignore"}
    environment.pop("PYTHONPATH", None)
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy, so that the working tree stays as it is and two workers do not meet."""
    copy = tmp_path_factory.mktemp("source")
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / part)
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(copy / "dist"), folder=copy)
    (built,) = (copy / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Only the package comes from here: what it depends on is already installed."""
    target = tmp_path_factory.mktemp("installed")
    run(
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(target),
        str(wheel),
        folder=target,
    )
    return target


def test_the_wheel_holds_what_the_package_needs_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    package = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*") if path.is_file()}
    assert {name for name in names if ".dist-info/" not in name} == {
        name for name in package if "__pycache__" not in name
    }
    assert "sightguard/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_installed_command_runs_outside_the_repository(installed: Path, tmp_path: Path) -> None:
    where = "import sightguard, sys; sys.stdout.write(sightguard.__file__)"
    assert run(sys.executable, "-c", where, folder=tmp_path, path=installed).stdout.startswith(str(installed))
    assert (
        "Usage: sightguard" in run(sys.executable, "-m", "sightguard", "--help", folder=tmp_path, path=installed).stdout
    )


def test_the_installed_package_brings_the_embedded_model(installed: Path, tmp_path: Path) -> None:
    shown = run(sys.executable, "-m", "sightguard", "pocket", "info", "--json", folder=tmp_path, path=installed).stdout
    assert str(installed) in shown


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only a clone knows which files belong to the project")
def test_the_source_archive_holds_every_file_of_the_project(tmp_path: Path) -> None:
    """What it holds is enough to run the checks, the tests, the examples and the benchmarks."""
    run(sys.executable, "-m", "build", "--no-isolation", "--sdist", "--outdir", str(tmp_path), folder=ROOT)
    (built,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        held = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    known = run("git", "ls-files", folder=ROOT).stdout.splitlines()
    assert {name for name in known if (ROOT / name).is_file()} - held == set()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_installed_demo_runs_outside_the_repository(installed: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "sightguard", "demo", "--out", str(tmp_path / "run"), folder=tmp_path, path=installed)
    assert {"results.json", "report.html"} <= {path.name for path in (tmp_path / "run").iterdir()}
