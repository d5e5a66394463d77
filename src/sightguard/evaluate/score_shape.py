"""The shape of what a bench's results say of scores, of official figures and of prompts without a label; older results lack all three."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sightguard.evaluate.results import Each, Optional, is_count, is_number, is_text, problems

_SCORED = Optional(
    {
        **dict.fromkeys(("prompts", "n", "undecided", "unscored", "guard_error"), is_count),
        **dict.fromkeys(("mean", "low", "high"), Optional(is_number)),
        "inconclusive": Optional(is_text),
    }
)
_DEFENSES = Each(Each(_SCORED), optional=True)
SCORES = Optional(
    {
        "judges": Each({"lowest": Optional(is_number), "highest": Optional(is_number), "says": is_text}),
        "interval": is_text,
        "settings": Each({"defenses": _DEFENSES, "by_category": Each(_DEFENSES)}),
    }
)
OFFICIAL = Optional(Each({"benchmark": is_text, "defenses": Each(lambda value: True, optional=True)}))
UNLABELLED = Optional({"n": is_count, "in_utility": is_count})


def score_problems(results: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield the places that do not fit, and the counts that do not add up; what is not there is no problem."""
    found = [
        *problems(results.get("scores"), SCORES, f"{where}.scores"),
        *problems(results.get("official"), OFFICIAL, f"{where}.official"),
    ]
    settings = results.get("settings")
    for name, part in settings.items() if isinstance(settings, Mapping) else ():
        if isinstance(part, Mapping):
            found += problems(part.get("unlabelled"), UNLABELLED, f"{where}.settings.{name}.unlabelled")
    yield from found or _sums(results, where)


def _sums(results: Mapping[str, Any], where: str) -> Iterator[str]:
    for name, part in (results.get("scores") or {"settings": {}})["settings"].items():
        for defense, judges in part["defenses"].items():
            for judge, told in (judges or {}).items():
                if told and not _adds_up(told):
                    place = f"{where}.scores.settings.{name}.defenses.{defense}.{judge}"
                    yield f"{place}: its counts do not sum to its prompts, or its mean is outside its interval"


def _adds_up(told: Mapping[str, Any]) -> bool:
    whole = sum(told[name] for name in ("n", "undecided", "unscored", "guard_error")) == told["prompts"]
    known = (told["mean"] is None) == (told["n"] == 0)
    inside = told["low"] is None or told["low"] <= told["mean"] <= told["high"]
    return bool(whole and known and inside)
