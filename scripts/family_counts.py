"""A pytest plugin that writes down which tests ran on which family, and which passed.

    python -m pytest tests/families -p scripts.family_counts --families-to cases.json

It imports nothing of ours, so that pytest finds the modules it tests as it always does.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Cases:
    """Every case by its id: the family it ran on (or None), the test function, and whether it passed."""

    def __init__(self) -> None:
        self.about: dict[str, tuple[str | None, str]] = {}
        self.called: set[str] = set()
        self.spoilt: set[str] = set()

    def pytest_collection_finish(self, session: Any) -> None:
        for item in session.items:
            given = item.callspec.params if hasattr(item, "callspec") else {}
            self.about[item.nodeid] = (given.get("family"), item.originalname)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if not report.passed:  # failed or skipped, in the test or around it
            self.spoilt.add(report.nodeid)
        elif report.when == "call":
            self.called.add(report.nodeid)

    def rows(self) -> list[dict[str, Any]]:
        """Return what is known of each case; one that never ran did not pass."""
        return [
            {"id": node, "family": family, "function": function, "passed": node in self.called - self.spoilt}
            for node, (family, function) in self.about.items()
        ]


def pytest_addoption(parser: Any) -> None:
    parser.addoption("--families-to", type=Path, help="write which tests passed on which family to this file")


def pytest_configure(config: Any) -> None:
    if config.getoption("--families-to"):
        config.pluginmanager.register(Cases(), "family cases")


def pytest_sessionfinish(session: Any) -> None:
    cases = session.config.pluginmanager.get_plugin("family cases")
    if cases is not None:
        path: Path = session.config.getoption("--families-to")
        path.write_text(json.dumps(cases.rows(), indent=1), encoding="utf-8")
