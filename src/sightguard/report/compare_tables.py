"""A comparison of runs as tables: what differs in how they were made, and what that did."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sightguard.report.bench_shown import INCONCLUSIVE
from sightguard.report.listing import Line, Listing, chance, points, share
from sightguard.report.tables import NOTHING, Cell

ALWAYS = ("asr", "over_refusal", "utility")
"""Metrics that are shown even where nothing moved."""
NAMES = {
    "asr": "attack success",
    "over_refusal": "over-refusal",
    "utility": "utility",
    "broken": "broken",
    "undecided": "undecided",
}


def configuration(comparison: Mapping[str, Any]) -> Listing:
    """Return what was not the same in all runs."""
    lines = [
        Line({"what": row["what"]}, tuple(Cell(_plain(value)) for value in row["values"]))
        for row in comparison["configuration"]
    ]
    return Listing("configuration", "What differs in the runs", "", ("what",), tuple(comparison["runs"]), tuple(lines))


def differences(comparison: Mapping[str, Any]) -> Listing:
    """Return both rates, their difference and its test for each run, setting, defense and metric."""
    lines = [
        Line(
            {"run": row["run"], "setting": row["setting"], "defense": row["defense"], "metric": NAMES[row["metric"]]},
            (
                share(row["first"]),
                share(row["second"], INCONCLUSIVE if row["inconclusive"] else ""),
                points(row["difference"]),
                chance(row["p"]),
                chance(row["p_holm"]),
                Cell(_how(row)),
            ),
        )
        for row in comparison["rows"]
        if row["metric"] in ALWAYS or _moved(row)
    ]
    note = (
        f"Difference: to {comparison['runs'][0]}. Paired on the same prompts: Tango's interval and McNemar's exact test; unpaired: Newcombe's "
        "interval and Fisher's exact test. Holm's correction is over all lines of a metric."
    )
    about = (
        ("setting", "defense", "metric") if len(comparison["runs"]) == 2 else ("run", "setting", "defense", "metric")
    )
    return Listing(
        "differences",
        "Differences",
        note,
        about,
        ("First, %", "Then, %", "Difference, points", "p", "p, Holm", "How"),
        tuple(lines),
    )


def _moved(row: Mapping[str, Any]) -> bool:
    return row["difference"] is None or row["difference"]["value"] != 0


def _how(row: Mapping[str, Any]) -> str:
    first, second = row["of"]
    if row["how"] == "paired":
        whole = row["common"] == first == second
        return f"paired, n = {row['common']}" + ("" if whole else f" of {first} and {second}")
    return f"unpaired, n = {first} and {second}"


def _plain(value: object) -> str:
    return NOTHING if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
