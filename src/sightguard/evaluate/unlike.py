"""What differs between two configurations, in words: the place of each value, and both values where they are short."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

LONGEST = 40
"""Letters of a value that is still shown; digests and texts are longer, and only their places are named."""
MOST = 12
_ABSENT = object()


def unlike(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Return what differs, or nothing where they are the same.

    Example:
        >>> unlike({"about": {"seed": 0, "model": "a"}, "batch": 8}, {"about": {"seed": 1, "model": "a"}, "batch": 8})
        'about.seed (0 there, 1 here)'
    """
    found = list(_places(there, here, ""))
    more = f" and {len(found) - MOST} more" if len(found) > MOST else ""
    return ", ".join(found[:MOST]) + more


def _places(there: Mapping[str, Any], here: Mapping[str, Any], above: str) -> Iterator[str]:
    for name in sorted({*there, *here}):
        first, second = there.get(name, _ABSENT), here.get(name, _ABSENT)
        if first == second:
            continue
        if isinstance(first, Mapping) and isinstance(second, Mapping):
            yield from _places(first, second, f"{above}{name}.")
        else:
            yield f"{above}{name}{_both(first, second)}"


def _both(first: object, second: object) -> str:
    told = ["nothing" if one is _ABSENT else repr(one) for one in (first, second)]
    return f" ({told[0]} there, {told[1]} here)" if max(map(len, told)) <= LONGEST else ""
