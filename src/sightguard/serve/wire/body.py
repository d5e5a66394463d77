"""From the bytes of a request to JSON: UTF-8, no name twice, no number that JSON does not know."""

from __future__ import annotations

import json
from typing import NoReturn

from sightguard.serve.wire.errors import WireError, shown

MAX_COMMAS = 200_000
"""They bound how many values there are, and so the time and memory that reading them takes; a base64 holds none."""


def parse_json(raw: bytes) -> object:
    """Return what the bytes hold.

    A name that stands twice is refused: what a gateway before this server checked would be one of the two, and what is answered the other.

    Raises:
        WireError: 400, they are no JSON, nested too deep, or far more values than any request has.
    """
    if raw.count(b",") > MAX_COMMAS:
        raise _malformed(f"it has more than {MAX_COMMAS:,} commas")
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise _malformed(f"byte {error.start} is no UTF-8") from None
    except json.JSONDecodeError as error:
        raise _malformed(f"line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise _malformed("it is nested too deep") from None
    except ValueError:
        raise _malformed("a number has too many digits") from None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise _malformed(f"the name {shown(twice)} stands twice in one object")
    return found


def _no_number(word: str) -> NoReturn:
    raise _malformed(f"{word} is no JSON")


def _malformed(why: str) -> WireError:
    return WireError(400, f"the body is not the JSON that was expected: {why}.", code="invalid_json")
