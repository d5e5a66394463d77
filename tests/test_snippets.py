"""Every Python snippet of the documentation runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sightguard.models.vlm import VLM
from sightguard.pocket import world
from sightguard.steering.vlm_guard import VlmGuard
from tests import checkpoint

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SNIPPET = re.compile(r"```python\n(.*?)```", re.DOTALL)
SNIPPETS = [
    pytest.param(code, id=f"{page.relative_to(ROOT)}:{number}")
    for page in PAGES
    for number, code in enumerate(SNIPPET.findall(page.read_text(encoding="utf-8")), start=1)
    if "http://127.0.0.1:8000" not in code  # which needs a server: tests/serve/test_docs.py
]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the pages speak of as the reader's own: a checkpoint, a model, a guard, inputs."""
    vlm = VLM.load("pocket")
    asked = world.settings("validation", 3)["blank_image"]
    return {
        "checkpoint": checkpoint.build(tmp_path_factory.mktemp("own") / "checkpoint"),
        "vlm": vlm,
        "model": vlm.model,
        "guard": VlmGuard.fit(vlm, world.anchors(20)),
        "inputs": vlm.encode(asked).inputs,
    }


@pytest.mark.parametrize("code", SNIPPETS)
def test_a_snippet_runs(code: str, known: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "snippet", "exec"), dict(known))


def test_there_are_snippets_to_run() -> None:
    assert len(SNIPPETS) >= 5
