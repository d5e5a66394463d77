from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

import pytest

from sightguard import catalog
from sightguard.errors import UnknownName, UsageError

PAPERLESS = {"none", "unrelated", "refusal_phrases", "pocket"}


@pytest.mark.parametrize("kind", get_args(catalog.Kind))
def test_every_entry_can_be_loaded_and_says_what_it_does(kind: catalog.Kind) -> None:
    for name, entry in catalog.known(kind).items():
        assert catalog.load(kind, name) is not None
        assert entry.summary.endswith(".")
        assert entry.paper or name in PAPERLESS


def test_unknown_method_says_what_is_close() -> None:
    with pytest.raises(UnknownName, match="no method 'vlmguard'. Did you mean 'vlm_guard'"):
        catalog.load("method", "vlmguard")


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution that adds a method, tries to replace one of ours, and has one that is broken."""
    entries = "[sightguard.methods]\nmine = plugin_module:Mine\nvlm_guard = plugin_module:Mine\nbroken = plugin_module:Absent\n"
    info = tmp_path / "plugin_dist-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin-dist\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entries)
    (tmp_path / "plugin_module.py").write_text("class Mine: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "plugin_module", raising=False)


@pytest.mark.usefixtures("plugin")
def test_a_plugin_adds_a_method() -> None:
    assert catalog.load("method", "mine").__name__ == "Mine"
    assert catalog.known("method")["mine"].summary == "plug-in from plugin-dist"


@pytest.mark.usefixtures("plugin")
def test_a_plugin_cannot_replace_a_method_of_ours() -> None:
    assert catalog.known("method")["vlm_guard"] == catalog.METHODS["vlm_guard"]


@pytest.mark.usefixtures("plugin")
def test_a_broken_plugin_says_where_it_should_be() -> None:
    with pytest.raises(UsageError, match="'broken' should live at plugin_module:Absent, which cannot be imported"):
        catalog.load("method", "broken")
