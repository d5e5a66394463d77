"""The tables of faults say what was measured, and make bold what did not hold."""

from __future__ import annotations

import pytest

from scripts import fault_tables

HELD = {"fault": "a | b", "expected": "400 x", "came": "400 x", "held": True}
RESULTS = {
    "faults": [
        {**HELD, "group": "one server", "served": True, "memory": [10, 12]},
        {**HELD, "group": "one server", "served": False, "memory": [12, 12], "held": False, "came": "500"},
        {**HELD, "group": "engine", "served": True},
        {**HELD, "group": "process"},
    ]
}


@pytest.mark.parametrize(("view", "rows"), [("faults_requests", 2), ("faults_engine", 1), ("faults_process", 1)])
def test_every_view_is_a_whole_table(view: str, rows: int) -> None:
    lines = fault_tables.VIEWS[view](RESULTS)
    assert len(lines) == rows + 2
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1


def test_what_did_not_hold_is_bold() -> None:
    held, failed = fault_tables.VIEWS["faults_requests"](RESULTS)[2:]
    assert "**" not in held
    assert "10 → 12" in held
    assert "**500** | **not answered**" in failed
