"""The rules of the house that a linter cannot state, each shown to catch a planted fault."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CODE = ("src", "tests", "scripts", "examples", "benchmarks")
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PYTHON = sorted(path for folder in CODE for path in (ROOT / folder).rglob("*.py"))

HOOKS = {"register_forward_hook", "register_forward_pre_hook"}
PICKLES = {"pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal"}
WORDS = {
    "a path of one machine": re.compile(r"(?<![\w.\-/$}~*])/(?:work|home|root|Users|opt|mnt)/\w"),
    "the host of a package registry": re.compile(
        r"\bpypi\.org\b|pythonhosted|\bdownload\.pytorch\.org\b|\banaconda\.org\b"
    ),
    "a local version of torch": re.compile(r"\d\+(?:cpu|cu\d+)\b"),
}
TEXT = {".py", ".md", ".toml", ".txt", ".yml", ".yaml", ".json", ".html", ".jinja", ".cfg", ""}


def hooks(tree: ast.AST) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in HOOKS:
            yield node.lineno


def unsafe_loads(tree: ast.AST) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and PICKLES & {alias.name.split(".")[0] for alias in node.names}:
            yield node.lineno
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PICKLES:
            yield node.lineno
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"torch.load", "torch.save", "yaml.load"}:
            yield node.lineno
        if isinstance(node, ast.keyword) and node.arg == "trust_remote_code" and ast.unparse(node.value) != "False":
            yield node.value.lineno


def found(rule: Callable[[ast.AST], Iterator[int]], files: list[Path]) -> list[str]:
    return [f"{path}:{line}" for path in files for line in rule(ast.parse(path.read_text(encoding="utf-8")))]


def test_hooks_are_registered_in_one_file_only() -> None:
    home = ROOT / "src" / "sightguard" / "models" / "hooks.py"
    assert found(hooks, [path for path in SOURCES if path != home]) == []
    assert list(hooks(ast.parse("block.register_forward_hook(edit)"))) == [1]


def test_nothing_reads_or_writes_pickles_or_runs_code_of_others() -> None:
    assert found(unsafe_loads, PYTHON) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "load(x, trust_remote_code=True)",
        "f(trust_remote_code=t)",
    ],
)
def test_the_rule_about_pickles_sees_a_planted_fault(line: str) -> None:
    assert list(unsafe_loads(ast.parse(line))) == [1]


def texts() -> list[Path]:
    """The text files of the repository: those that git knows, or in a source archive all of them."""
    asked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    listed = [ROOT / name for name in asked.stdout.split("\0") if name] if asked.returncode == 0 else [*ROOT.rglob("*")]
    kept = {ROOT / ".gitignore", Path(__file__)}
    return [path for path in listed if path.is_file() and path.suffix in TEXT and path not in kept]


@pytest.mark.parametrize("what", WORDS)
def test_no_text_names_a_machine_or_a_registry(what: str) -> None:
    hits = [
        f"{path.relative_to(ROOT)}: {line.strip()[:120]}"
        for path in texts()
        for line in path.read_text(encoding="utf-8", errors="ignore").splitlines()
        if WORDS[what].search(line)
    ]
    assert hits == []


@pytest.mark.parametrize("text", ["see /home/someone/x", "https://pypi.org/simple", "torch==2.13.0+cpu"])
def test_the_rule_about_machines_sees_a_planted_fault(text: str) -> None:
    assert any(pattern.search(text) for pattern in WORDS.values())


def test_the_floors_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_file_is_named_for_what_it_is_not() -> None:
    vague = re.compile(r"\b(utils?|helpers?|common|misc|manager)\.py$")
    assert [path.name for path in PYTHON if vague.search(path.name)] == []
