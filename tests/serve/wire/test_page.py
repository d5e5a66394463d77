from __future__ import annotations

import pytest

from scripts import render_docs, serve_tables
from sightguard.serve.wire.fields import fields
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "serve-api.md").read_text(encoding="utf-8")


def test_the_page_holds_every_table_as_the_data_say_it() -> None:
    assert render_docs.render(PAGE) == PAGE
    assert all(f"view={view} -->" in PAGE for view in serve_tables.VIEWS)
    for name in (*fields().taken, *fields().ignored, *fields().refused):
        assert f"\n| `{name}` |" in PAGE
    with pytest.raises(SystemExit, match="no view"):
        serve_tables.table("other")
