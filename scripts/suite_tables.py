"""Tables of the bench's suites, from the YAML files that they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sightguard.bench.defenses import known
from sightguard.bench.suite import Column, Suite, read_suite

ANOTHER = "another"
"""The column of a method that Sightguard does not have."""


def table(path: Path, view: str) -> Iterator[str]:
    """Yield the lines of one part of a suite: "about", "cost", or the table "settings" or "published".

    Raises:
        SystemExit: no such view.
    """
    if view not in ("about", "cost", "settings", "published"):
        raise SystemExit(f"{path.name}: no view {view!r}. Known: about, cost, settings, published")
    suite = read_suite(path)
    if view in ("about", "cost"):
        yield " ".join(str(getattr(suite, view)).split())
        return
    if view == "settings":
        yield "| setting | counts as | benchmark | attacks | on the embedded models |"
        yield "| --- | --- | --- | --- | --- |"
        yield from map(_row, suite.settings)
        return
    named = {name for row in suite.published for name in row} - {"what", "source", ANOTHER}
    names = [*(name for name in known() if name in named), *([ANOTHER] if _has_another(suite) else [])]
    yield f"| published | {' | '.join(names)} | source |"
    yield "| --- |" + " --- |" * (len(names) + 1)
    for row in suite.published:
        yield f"| {row['what']} | {' | '.join(str(row.get(name, '–')) for name in names)} | {row['source']} |"


def _has_another(suite: Suite) -> bool:
    return any(ANOTHER in row for row in suite.published)


def _row(column: Column) -> str:
    options = ", ".join(f"{name}: {_plain(value)}" for name, value in column.options.items())
    source = f"`{column.benchmark}`{f' ({options})' if options else ''}" if column.benchmark else "–"
    most = f", at most {column.limit}" if column.limit else ""
    own = f"`{column.own}`" if column.own else "left out"
    return (
        f"| `{column.name}` | {', '.join(column.kinds)} | {source}{most} | {', '.join(column.attacks) or '–'} | {own} |"
    )


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
