"""The shape of `results.json`, written down once as data and checked without a library."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from sightguard.errors import DataError
from sightguard.evaluate.names import CONDITIONS, HARMFUL_SETTINGS, OVER_REFUSAL_SETTINGS, UTILITY_SETTINGS

SCHEMA = 1

Check = Callable[[Any], bool]


class Each(NamedTuple):
    """An object whose keys are free (or among `keys`) and whose values all have one shape."""

    shape: Any
    keys: tuple[str, ...] = ()
    optional: bool = False
    """Whether a value may be null."""


class Optional(NamedTuple):
    """A shape, or null."""

    shape: Any


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_rate(value: Any) -> bool:
    if not isinstance(value, Mapping) or not all(_is_share(value.get(name)) for name in ("value", "low", "high")):
        return False
    return bool(value["low"] <= value["value"] <= value["high"])


_RATES = Each(_is_rate, optional=True)
_COUNTS = Each(_is_count, optional=True)

SHAPE: dict[str, Any] = {
    "schema": lambda value: value == SCHEMA,
    "model": _is_text,
    "seed": Optional(_is_count),
    "settings": Each(
        {
            "n": _is_count,
            "asr": _RATES,
            "strict_asr": _RATES,
            "refused": _COUNTS,
            "broken": _COUNTS,
            "undecided": _COUNTS,
            "guard_error": _COUNTS,
            "mcnemar_p": Each(_is_share, optional=True),
            "by_kind": Each({"n": _is_count, "asr": _RATES}),
        },
        keys=tuple(HARMFUL_SETTINGS),
    ),
    "over_refusal": Each({"n": _is_count, "rate": _RATES, "guard_error": _COUNTS}, keys=tuple(OVER_REFUSAL_SETTINGS)),
    "utility": Each({"n": _is_count, "accuracy": _RATES}, keys=tuple(UTILITY_SETTINGS)),
    "perplexity": Each(_is_number, optional=True),
    "cost": Each({"prefill_ratio": Optional(_is_number), "decode_ratio": Optional(_is_number)}, optional=True),
    "separability": [
        {
            "layer": lambda value: isinstance(value, int),
            "auc_text": Optional(_is_share),
            "auc_blank": Optional(_is_share),
            "balanced_accuracy_text": Optional(_is_share),
            "balanced_accuracy_blank": Optional(_is_share),
        }
    ],
    "fit": {
        "layers": [lambda value: isinstance(value, int)],
        "m": _is_count,
        "alpha": _is_number,
        "gate": _is_text,
        "threshold": _is_text,
        "seconds": _is_number,
    },
    "judge": _is_text,
    "overlap": {"exact": _is_count, "near": _is_count},
}
"""A function checks a value; a dict names the keys that must be there (more may follow); a list holds the shape of its
items."""


def check_results(results: Mapping[str, Any], *, whole: bool = False) -> None:
    """Raise unless `results` has the shape of `results.json`; more keys than asked for are welcome.

    Args:
        results: what is to be written, or was read.
        whole: every setting must be there, as after a demo.

    Raises:
        DataError: lists every place that does not fit.
    """
    problems = [*_problems(results, SHAPE, "results"), *_missing_conditions(results)]
    if whole:
        problems += _missing_settings(results)
    if problems:
        raise DataError(f"results.json does not have the shape of schema {SCHEMA}:\n  " + "\n  ".join(problems))


def _problems(value: Any, shape: Any, where: str) -> Iterator[str]:
    if isinstance(shape, Optional):
        if value is not None:
            yield from _problems(value, shape.shape, where)
    elif isinstance(shape, Each):
        yield from _problems_of_each(value, shape, where)
    elif isinstance(shape, dict):
        yield from _problems_of_object(value, shape, where)
    elif isinstance(shape, list):
        yield from _problems_of_list(value, shape[0], where)
    elif not shape(value):
        yield f"{where}: unexpected value {value!r}"


def _problems_of_each(value: Any, shape: Each, where: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{where}: expected an object, got {type(value).__name__}"
        return
    for key, item in value.items():
        if shape.keys and key not in shape.keys:
            yield f"{where}.{key}: unknown name; expected one of {', '.join(shape.keys)}"
        elif not (item is None and shape.optional):
            yield from _problems(item, shape.shape, f"{where}.{key}")


def _problems_of_object(value: Any, shape: Mapping[str, Any], where: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{where}: expected an object, got {type(value).__name__}"
        return
    for key, inner in shape.items():
        if key not in value:
            yield f"{where}.{key}: missing"
        else:
            yield from _problems(value[key], inner, f"{where}.{key}")


def _problems_of_list(value: Any, shape: Any, where: str) -> Iterator[str]:
    if not isinstance(value, list | tuple):
        yield f"{where}: expected a list, got {type(value).__name__}"
        return
    for number, item in enumerate(value):
        yield from _problems(item, shape, f"{where}[{number}]")


def _missing_settings(results: Mapping[str, Any]) -> Iterator[str]:
    expected = {"settings": HARMFUL_SETTINGS, "over_refusal": OVER_REFUSAL_SETTINGS, "utility": UTILITY_SETTINGS}
    for part, names in expected.items():
        yield from (f"results.{part}.{name}: missing" for name in names if name not in (results.get(part) or {}))
    if not results.get("separability"):
        yield "results.separability: expected one entry for each layer, got none"


def _missing_conditions(results: Mapping[str, Any]) -> Iterator[str]:
    """Yield the conditions that a table leaves out: a value that is undefined is null, never absent."""
    tables = [("perplexity", results.get("perplexity")), ("cost", results.get("cost"))]
    columns = {
        "settings": ("asr", "strict_asr", "broken", "undecided", "guard_error", "refused", "mcnemar_p"),
        "over_refusal": ("rate",),
    }
    for part, names in {**columns, "utility": ("accuracy",)}.items():
        for setting, values in (results.get(part) or {}).items():
            tables += [(f"{part}.{setting}.{name}", values.get(name)) for name in names]
    for where, table in tables:
        if isinstance(table, Mapping):
            yield from (f"results.{where}.{name}: missing" for name in CONDITIONS if name not in table)
