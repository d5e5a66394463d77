"""Options of judges as a user gives them: a YAML or JSON file, and what the command line says above it.

prices: [0.15, 0.6]          # for a million tokens read and written
max_spend: 5
temperature: null            # sends none
api_key_env: JUDGE_KEY       # the environment variable that holds the key; never the key itself
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightguard.bench.judges.options import Options
from sightguard.data.taxonomy import read_yaml
from sightguard.errors import UnknownName, UsageError
from sightguard.evaluate.asking.purse import Prices

_WHOLE, _NUMBER, _NOTHING = (int,), (int, float), type(None)
TAKES: Mapping[str, tuple[type, ...]] = {
    "language": (str,),
    "head": (str,),
    "revision": (str,),
    "device": (str,),
    "dtype": (str,),
    "batch": _WHOLE,
    "threshold": _NUMBER,
    "harmful_below": _NUMBER,
    "harmful_from": _NUMBER,
    "show_pictures": (bool,),
    "cache": (str,),
    "requests_per_minute": _WHOLE,
    "tokens_per_minute": _WHOLE,
    "prices": (list, Prices),
    "max_spend": _NUMBER,
    "timeout": _NUMBER,
    "retries": _WHOLE,
    "concurrency": _WHOLE,
    "max_new_tokens": (int, _NOTHING),
    "temperature": (int, float, _NOTHING),
    "decoding": (dict,),
    "api_key_env": (str,),
}
"""What each option takes; names as in `sightguard.bench.judges.options.Options`, and `api_key_env` in place of the key."""


def judge_options(path: Path | None = None, **given: Any) -> Options:
    """Return the options of a file, with those of the command line in place of the file's.

    Args:
        path: YAML or JSON; None: no file.
        given: further options by their names; None is not given.

    Raises:
        DataError: the file cannot be read.
        UnknownName: no such option.
        UsageError: a value that an option does not take, a sum that may be spent without prices, or a variable that is not set.
    """
    found = {**_in(path), **{name: value for name, value in given.items() if value is not None}}
    for name, value in found.items():
        _check(name, value)
    if "max_spend" in found and "prices" not in found:
        raise UsageError(
            "a sum that judges may spend (max_spend, --judge-max-spend) means nothing without prices: give the prices of a million tokens, "
            "read and written (prices, --judge-price)"
        )
    if "cache" in found:
        found["cache"] = Path(found["cache"])
    if isinstance(found.get("prices"), list):
        found["prices"] = _prices(found["prices"])
    if "api_key_env" in found:
        found["api_key"] = _key(found.pop("api_key_env"))
    return Options(**found)


def _in(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    found = read_yaml(path)
    if not isinstance(found, dict):
        raise UsageError(f"{str(path)!r} should hold options of judges, one `name: value` a line; found {_kind(found)}")
    return found


def _check(name: str, value: object) -> None:
    if name not in TAKES:
        hint = "A key is never in a file: name its environment variable (api_key_env)." if name == "api_key" else ""
        raise UnknownName("option of judges", name, TAKES, hint)
    takes = TAKES[name]
    # true is a number to Python, and to nobody else
    if not isinstance(value, takes) or (isinstance(value, bool) and bool not in takes):
        wanted = " or ".join("none" if one is _NOTHING else one.__name__ for one in takes)
        raise UsageError(f"the option {name!r} of judges takes {wanted}; got {_kind(value)}")


def _prices(pair: list[Any]) -> Prices:
    if len(pair) != 2 or not all(isinstance(one, int | float) and not isinstance(one, bool) for one in pair):
        raise UsageError(f"prices are two numbers, for a million tokens read and written; got {pair!r:.80}")
    return Prices(*pair)


def _key(variable: str) -> str:
    if not os.environ.get(variable):
        raise UsageError(
            f"the environment variable {variable!r}, which api_key_env names, is not set. Set it to the judges' key."
        )
    return os.environ[variable]


def _kind(value: object) -> str:
    return "nothing" if value is None else type(value).__name__
