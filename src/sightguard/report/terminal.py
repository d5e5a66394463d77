"""The headline of a run for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sightguard.report.tables import head, headline

if TYPE_CHECKING:
    import rich.table


def headline_table(results: Mapping[str, Any]) -> rich.table.Table:
    """Return attack success with over-refusal, utility and cost beside it, settings down and conditions across.

    rich.print(headline_table(results))
    """
    import rich.box
    import rich.table

    source = headline(results)
    rows = source.sections[0].rows
    table = rich.table.Table(
        title=f"{results['model']}: attack success with over-refusal, utility and cost",
        caption=f"95% Wilson intervals below the rates; judge: {results['judge']}",
        box=rich.box.SIMPLE_HEAD,
    )
    table.add_column("", no_wrap=False)
    table.add_column("n", justify="right")
    for name, _ in rows:
        table.add_column(name, justify="right")
    group = ""
    for number, column in enumerate(source.columns):
        if column.group != group:
            group = column.group
            table.add_row(f"[bold]{group}[/bold]")
        cells = [row[number] for _, row in rows]
        texts = [f"{cell.text}\n[dim]{cell.note}[/dim]" if cell.note else cell.text for cell in cells]
        table.add_row(f"  {column.title}", "" if column.n is None else str(column.n), *texts)
    return table


def head_table(results: Mapping[str, Any]) -> rich.table.Table | None:
    """Return what the safety head knows, split by split; None where the run has no head."""
    import rich.box
    import rich.table

    source = head(results)
    if source is None:
        return None
    table = rich.table.Table(
        title=f"{results['model']}: the safety head on what it has not seen", box=rich.box.SIMPLE_HEAD
    )
    for title in ("", *(column.title for column in source.columns)):
        table.add_column(title, justify="right" if title else "left")
    for name, cells in source.sections[0].rows:
        table.add_row(name, *(f"{cell.text}\n[dim]{cell.note}[/dim]" if cell.note else cell.text for cell in cells))
    return table
