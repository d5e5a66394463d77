"""The tables of a bench for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sightguard.report.bench_tables import WARNINGS, headline
from sightguard.report.listing import Listing
from sightguard.report.tables import Cell

if TYPE_CHECKING:
    import rich.table
    import rich.text


def bench_table(results: Mapping[str, Any]) -> rich.table.Table:
    """Return the headline: attack success with over-refusal, utility and cost beside it, one row for each defense.

    rich.print(bench_table(results))
    """
    title = f"{results['model']}: attack success with over-refusal, utility and cost"
    table = rich_table(headline(results), title)
    spread = "; smallest and largest round below prefill and decode" if results["timing"] else ""
    table.caption = f"95% Wilson intervals below the rates{spread}; judged by {', '.join(results['judges'])}"
    return table


def rich_table(source: Listing, title: str | None = None) -> rich.table.Table:
    """Return any table of the bench for the terminal."""
    import rich.box
    from rich.table import Table
    from rich.text import Text

    # what a run names is text, never markup
    table = Table(title=Text(title or source.title), box=rich.box.SIMPLE_HEAD)
    for name in source.about:
        table.add_column(name.capitalize())
    for column in source.columns:
        table.add_column(column, justify="right")
    for line in source.lines:
        table.add_row(*(Text(line.about[name]) for name in source.about), *map(_cell, line.cells))
    return table


def _cell(cell: Cell) -> rich.text.Text:
    from rich.text import Text

    text = Text(cell.text)
    for note in filter(None, cell.note.split(", ")):
        text.append(f"\n{note}", style="bold red" if note in WARNINGS else "dim")
    return text
