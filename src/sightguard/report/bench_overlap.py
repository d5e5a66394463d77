"""What a bench says of questions that its defenses had seen before: in words at the top, and beside the figures that it touches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sightguard.report.flat import flat

NOT_CHECKED = "Not checked: whether the prompts were seen in fitting is not known."
OVERLAPS = "Some questions were known from fitting: the figures that they are in flatter."
SEEN, WORDED = "seen in fitting", "worded as in fitting"
PARTS = {"asr": "attacked", "over_refusal": "benign", "utility": "utility"}
"""Where a figure of the headline stands in a setting."""


def overlap_lines(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what is to be said first, by name; results from before questions were compared one by one are told as they are."""
    told = results["overlap"]
    if told is None:
        return [("overlap", NOT_CHECKED)]
    return list(_lines(told) if "by_defense" in told else flat(told))


def has_overlap(results: Mapping[str, Any]) -> bool:
    """Return whether a question was known word for word, beside whatever picture."""
    told = results["overlap"] or {}
    return bool(told.get("exact") or told.get("text_exact"))


def mark(results: Mapping[str, Any], defense: str, setting: str) -> str:
    """Return what stands beside the figures of a defense in a setting where it was asked what it has seen, or nothing."""
    counts = _of(results, defense).get(setting, {})
    if counts.get("exact"):
        return f"{counts['exact']} {SEEN}"
    return f"{counts['text_exact']} {WORDED}" if counts.get("text_exact") else ""


def pooled_mark(results: Mapping[str, Any], defense: str, figure: str) -> str:
    """Return the same for a figure over all settings: the gravest that stands beside one of its parts."""
    parts = {name: (part["defenses"][defense] or {}).get(PARTS[figure]) for name, part in results["settings"].items()}
    found = {mark(results, defense, name).partition(" ")[2] for name, part in parts.items() if part}
    return next((word for word in (SEEN, WORDED) if word in found), "")


def _of(results: Mapping[str, Any], defense: str) -> Mapping[str, Any]:
    settings: Mapping[str, Any] = (results["overlap"] or {}).get("by_defense", {}).get(defense, {}).get("settings", {})
    return settings


def _lines(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not told["by_defense"]:
        yield "questions asked again", "none could be: nothing in this run was fitted"
    elif told["exact"] is not None:
        yield (
            "questions asked again",
            f"of {told['n']}, before attacks, fitting or choosing had seen {told['exact']} exactly and {told['near']} nearly; by their words "
            f"alone {told['text_exact']} and {told['text_near']}",
        )
    if told["not_known"]:
        yield (
            "not known for",
            f"{', '.join(told['not_known'])}: what was seen in fitting is in no record that could be compared",
        )
    for name, one in told["by_defense"].items():
        if one["known"]:
            yield name, _of_one(one)


def _of_one(one: Mapping[str, Any]) -> str:
    words = f"fitted on {one['fit']}, chosen on {one['calibration']}; of the questions {_counts(one)}"
    between = one["fit_calibration"]
    return words if between is None else f"{words}; chosen on what it was fitted on: {_counts(between)}"


def _counts(counts: Mapping[str, Any]) -> str:
    return f"{counts['exact']} exactly and {counts['near']} nearly (words alone {counts['text_exact']} and {counts['text_near']})"
