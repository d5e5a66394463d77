"""The result of a bench as Markdown: the tables of the page with the same figures, without its drawings and without any answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sightguard.evaluate.bench_shape import check_bench
from sightguard.report.bench_asking import asking, cap
from sightguard.report.bench_overlap import OVERLAPS, has_overlap, overlap_lines
from sightguard.report.bench_scores import unlabelled
from sightguard.report.bench_tables import listings, unsettled
from sightguard.report.flat import flat
from sightguard.report.listing import Listing
from sightguard.report.tables import Cell


def bench_markdown(results: Mapping[str, Any]) -> str:
    """Return the report as Markdown text.

    Raises:
        DataError: `results` does not have the shape of a bench's.
    """
    check_bench(results)
    parts = [f"# Bench of {_plain(results['model'])}", f"Judged by {_plain(', '.join(results['judges']))}."]
    parts += ["## Overlap", _facts(overlap_lines(results))]
    if has_overlap(results):
        parts.append(f"**{OVERLAPS}**")
    if results["baseline"] is None:
        parts.append("**No undefended model in this run:** nothing here can be said to be the defense's doing.")
    if spent := cap(results):
        parts.append(f"**{_plain(spent)}**")
    if sentences := unsettled(results):
        parts += ["## Figures that cannot be relied on", "\n".join(f"- {_plain(one)}" for one in sentences)]
    if sentences := unlabelled(results):
        parts += ["## Prompts without a label", "\n".join(f"- {_plain(one)}" for one in sentences)]
    for table in listings(results):
        parts += [f"## {table.title}", _plain(table.note), markdown_table(table)]
    if attacks := results.get("attacks"):
        parts += ["## What attacks on pixels found", _facts(flat(attacks))]
    agreement = _facts(flat(results["agreement"] or {})) or "Not measured in this run."
    parts += ["## How far the judges agree", agreement]
    if lines := asking(results):
        parts += ["## What asking the judges came to", _facts(lines)]
    parts += ["## Provenance", _facts(flat(results["manifest"]))]
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown_table(table: Listing) -> str:
    """Return one table; what stands small below a figure stands in brackets after it."""
    head = [*(name.capitalize() for name in table.about), *table.columns]
    rules = [*("---" for _ in table.about), *("---:" for _ in table.columns)]
    rows = [[*(line.about[name] for name in table.about), *map(_cell, line.cells)] for line in table.lines]
    return "\n".join("| " + " | ".join(map(_plain, row)) + " |" for row in (head, rules, *rows))


def _cell(cell: Cell) -> str:
    return f"{cell.text} ({cell.note})" if cell.note else cell.text


def _facts(lines: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"- {_plain(name)}: {_plain(value)}" for name, value in lines)


def _plain(text: str) -> str:
    """Return text that neither ends a cell or a line, nor starts HTML."""
    plain = " ".join(text.split())
    for mark, word in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|")):
        plain = plain.replace(mark, word)
    return plain
