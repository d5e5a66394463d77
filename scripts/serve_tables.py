"""Tables of the documentation about the server's wire format, from the YAML files that it is read by."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from sightguard.serve.wire.categories import categories
from sightguard.serve.wire.fields import fields


def taken() -> Iterator[str]:
    """Fields of a chat request that are kept to."""
    yield from ("| field | how |", "| --- | --- |")
    yield from (f"| `{name}` | {what} |" for name, what in fields().taken.items())


def ignored() -> Iterator[str]:
    """Fields that are accepted and do nothing."""
    yield from ("| field | why nothing is lost |", "| --- | --- |")
    yield from (f"| `{name}` | {why} |" for name, why in fields().ignored.items())


def refused() -> Iterator[str]:
    """Fields that are refused, and the values of them that ask for nothing."""
    yield from ("| field | why it is refused | accepted, as it asks for nothing |", "| --- | --- | --- |")
    for name, field in fields().refused.items():
        neutral = ", ".join(f"`{json.dumps(value)}`" for value in field.neutral)
        yield f"| `{name}` | {field.why} | {neutral} |"


def types() -> Iterator[str]:
    """Types of risk and the standard categories that they are counted under."""
    yield from ("| type of risk | standard category | why |", "| --- | --- | --- |")
    for name, keys in categories().keys.items():
        yield f"| {name} | {', '.join(f'`{key}`' for key in keys) or 'none'} | {categories().why[name]} |"


VIEWS: dict[str, Callable[[], Iterator[str]]] = {
    "taken": taken,
    "ignored": ignored,
    "refused": refused,
    "types": types,
}


def table(view: str) -> Iterator[str]:
    """Return the lines of one table.

    Raises:
        SystemExit: there is no such view.
    """
    if view not in VIEWS:
        raise SystemExit(f"the server's wire format has no view {view!r}. Known: {', '.join(VIEWS)}")
    return VIEWS[view]()
