"""Conversations before SafeVLM, one table for each embedded model, and what is flagged of the validation split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

READERS = ("together", "user", "all")


def table(results: dict[str, Any]) -> list[str]:
    """Return the tables of the test split, one a model."""
    answering = ("undefended", *READERS)
    heads = ["conversation", *_heads("flagged", READERS), *_heads("refused", answering), *_heads("answered", answering)]
    lines = [
        f"{results['split'].capitalize()} split, n = {results['n']} conversations of each kind, seed {results['seed']}; SafeVLM after stage 1 "
        "and 2, % with 95 % Wilson intervals, judge `pocket-grammar`; what is neither refused nor answered is broken, which is in the file. "
        "A test bench for methods, never evidence about large models.",
    ]
    for model, kinds in results["models"].items():
        lines += ["", f"**{model}**", "", *_lines(heads, {kind: _cells(found) for kind, found in kinds.items()})]
    return lines


def validation(results: dict[str, Any]) -> list[str]:
    """Return the table of what is flagged of the validation split."""
    models = results["validation"]
    rows = {
        kind: [_rate(found[kind][way]) for found in models.values() for way in READERS]
        for kind in next(iter(models.values()))
    }
    heads = ["conversation", *(f"{model}: {way}" for model in models for way in READERS)]
    about = f"Validation split, n = {results['n']} conversations of each kind, seed {results['seed']}; flagged, % with 95 % Wilson intervals."
    return [about, "", *_lines(heads, rows)]


def _lines(heads: list[str], rows: Mapping[str, Iterable[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"| --- |{' --: |' * (len(heads) - 1)}"
    for kind, cells in rows.items():
        yield f"| {kind} | {' | '.join(cells)} |"


def _heads(what: str, ways: tuple[str, ...]) -> Iterator[str]:
    return (f"{what}: {way}" if way == ways[0] else way for way in ways)


def _cells(found: dict[str, Any]) -> Iterator[str]:
    yield from (_rate(found[way]["flagged"]) for way in READERS)
    for what in ("refused", "complied"):
        yield from (_rate(found[way][what]) for way in ("undefended", *READERS))


def _rate(value: dict[str, float]) -> str:
    return f"{100 * value['value']:.0f} [{100 * value['low']:.0f}, {100 * value['high']:.0f}]"
