"""The tables of faults that a server survives (results/faults.json)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Results = dict[str, Any]


def strange(results: Results) -> list[str]:
    """What was done to one server after the other, with what it held before and after."""
    rows = [
        [*_told(row), "{} → {}".format(*row["memory"])] for row in results["faults"] if row["group"] == "one server"
    ]
    return _table(("sent", "expected", "came", "another request afterwards", "memory (MiB)"), rows)


def engine(results: Results) -> list[str]:
    """Faults inside the server."""
    rows = [_told(row) for row in results["faults"] if row["group"] == "engine"]
    return _table(("fault", "expected", "came", "another request afterwards"), rows)


def process(results: Results) -> list[str]:
    """Starts and ends."""
    rows = [_told(row)[:3] for row in results["faults"] if row["group"] == "process"]
    return _table(("fault", "expected", "came"), rows)


def _told(row: dict[str, Any]) -> list[str]:
    came = row["came"] if row["held"] else f"**{row['came']}**"
    return [row["fault"], row["expected"], came, "answered" if row.get("served") else "**not answered**"]


def _table(heads: tuple[str, ...], rows: list[list[str]]) -> list[str]:
    lines = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    return [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}", *(f"| {line} |" for line in lines)]


VIEWS: dict[str, Callable[[Results], list[str]]] = {
    "faults_requests": strange,
    "faults_engine": engine,
    "faults_process": process,
}
