"""Conversations before SafeVLM, one table for each embedded model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def table(results: dict[str, Any]) -> list[str]:
    """Return the tables of the documentation, one a model."""
    heads = ["conversation", "readings, at most", "flagged: together", "every turn"]
    heads += [
        f"{what}{way}" for what in ("refused: ", "answered: ") for way in ("undefended", "together", "every turn")
    ]
    lines = [
        f"{results['split'].capitalize()} split, n = {results['n']} conversations of each kind, seed {results['seed']}; SafeVLM after stage 1 "
        "and 2, % with 95 % Wilson intervals, judge `pocket-grammar`; what is neither refused nor answered is broken, which is in the file. "
        "A test bench for methods, never evidence about large models.",
    ]
    for model, kinds in results["models"].items():
        lines += ["", f"**{model}**", "", f"| {' | '.join(heads)} |", f"| --- |{' --: |' * (len(heads) - 1)}"]
        lines += [f"| {kind} | {' | '.join(_cells(found))} |" for kind, found in kinds.items()]
    return lines


def _cells(found: dict[str, Any]) -> Iterator[str]:
    yield str(found["readings"])
    yield from (_rate(found[way]["flagged"]) for way in ("together", "every turn"))
    for what in ("refused", "complied"):
        yield from (_rate(found[way][what]) for way in ("undefended", "together", "every turn"))


def _rate(value: dict[str, float]) -> str:
    return f"{100 * value['value']:.0f} [{100 * value['low']:.0f}, {100 * value['high']:.0f}]"
