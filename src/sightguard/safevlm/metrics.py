"""Figures of a classifier on held-out data: accuracy with its interval, macro-F1, confusion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sightguard.evaluate.statistics import wilson


def classification(truth: Sequence[int], said: Sequence[int], names: Sequence[str]) -> dict[str, Any]:
    """Return `{"n", "accuracy": {"value", "low", "high"}, "macro_f1", "f1": {name: …}, "support", "confusion", "without_example"}`.

    `confusion[i][j]` counts examples of class i that were taken for class j. A class without an example has no F1, and the macro-F1
    is over the others.

    Args:
        truth: the classes.
        said: what was predicted.
        names: of the classes, in order.
    """
    size = len(names)
    table = [[0] * size for _ in range(size)]
    for right, given in zip(truth, said, strict=True):
        table[right][given] += 1
    support = [sum(row) for row in table]
    f1 = {names[i]: _f1(table, i) if support[i] else None for i in range(size)}
    known = [value for value in f1.values() if value is not None]
    hits = sum(table[i][i] for i in range(size))
    return {
        "n": len(truth),
        "accuracy": rate(hits, len(truth)) if truth else None,
        "macro_f1": sum(known) / len(known) if known else None,
        "f1": f1,
        "support": dict(zip(names, support, strict=True)),
        "confusion": table,
        "without_example": [names[i] for i in range(size) if not support[i]],
    }


def rate(hits: int, n: int) -> dict[str, Any]:
    """Return a rate with its 95 % Wilson interval and n."""
    low, high = wilson(hits, n)
    return {"value": hits / n, "low": low, "high": high, "n": n}


def _f1(table: list[list[int]], i: int) -> float:
    hit, said, there = table[i][i], sum(row[i] for row in table), sum(table[i])
    return 2 * hit / (said + there) if said + there else 0.0
