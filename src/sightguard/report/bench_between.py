"""Every defense against every other one: one row for each pair, one difference and one p for each metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightguard.report.bench_shown import mark, shown
from sightguard.report.listing import Line, Listing, chance, points
from sightguard.report.tables import Cell

Part = Mapping[str, Any]
METRICS = {"asr": "Attack success", "over_refusal": "Over-refusal", "utility": "Utility"}


def between(results: Part) -> Listing:
    """Return the differences of all pairs; no rows where a run has one defense, or was counted before there was such a part."""
    told: Part = results.get("between") or {}
    rows = {metric: {(row["first"], row["second"]): row for row in told[metric]["rows"]} for metric in METRICS if told}
    pairs = [
        (first, second)
        for at, first in enumerate(results["defenses"])
        for second in results["defenses"][:at]
        if any((first, second) in found for found in rows.values())
    ]
    lines = [
        Line(
            {"defense": shown(results, first), "against": shown(results, second)},
            tuple(cell for found in rows.values() for cell in _cells(found.get((first, second)))),
        )
        for first, second in pairs
    ]
    columns = tuple(column for name in METRICS.values() for column in (f"{name}, points", "p, Holm"))
    return Listing("between", "Between defenses", _note(told), ("defense", "against"), columns, tuple(lines))


def _cells(row: Part | None) -> tuple[Cell, Cell]:
    if row is None:
        return points(None), chance(None)
    return points(row["difference"], f"n = {row['n']}", mark(row)), chance(row["p_holm"])


def _note(told: Part) -> str:
    if not told:
        return ""
    sizes = " and ".join(dict.fromkeys(str(told[metric]["size"]) for metric in METRICS))
    return (
        "The first defense minus the second, pooled over the settings that both answered and over the prompts that were decided under both. "
        f"Small figures are 95% intervals of a paired bootstrap of whole questions ({told['resamples']:,} resamples, seed {told['seed']}); n is "
        "questions. Where two never differ it has no width, which says nothing of other questions. p: McNemar's exact test of questions, after "
        f"Holm's correction over the pairs of a column ({sizes}): an attack succeeded, or a refusal came, in at least one setting; the answer was "
        "right in every one."
    )
