"""What asking the judges of a bench came to, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Part = Mapping[str, Any]


def asking(results: Part) -> list[tuple[str, str]]:
    """Return a line for each model that was asked, and one for all where there are several; nothing where none was."""
    told = results.get("asking")
    if not told:
        return []
    lines = [(name, _counts(part)) for name, part in told["models"].items()]
    lines += [("together", _counts(told))] if len(lines) > 1 else []
    if told["max_spend"] is not None:
        lines.append(("may be spent", f"{told['max_spend']:g}{', which was reached' if told['cap_reached'] else ''}"))
    return [*lines, ("processes", f"{told['processes']}")] if told["processes"] > 1 else lines


def cap(results: Part) -> str | None:
    """Return what it means that the money ran out; None where it did not."""
    told = results.get("asking")
    if not told or not told["cap_reached"]:
        return None
    return (
        f"The sum that judging may cost ({told['max_spend']:g}) was reached: {told['not_asked']:,} questions were not asked, and those answers "
        "are undecided."
    )


def undecided(results: Part) -> int:
    """Return how many answers no judge decided, of those that count in a rate."""
    told = [part for setting in results["settings"].values() for part in setting["defenses"].values() if part]
    return sum(part[side]["outcomes"]["undecided"] for part in told for side in ("attacked", "benign") if part[side])


def _counts(part: Part) -> str:
    words = {"asked": "asked", "cached": "from the file of replies", "failed": "failed", "not_asked": "not asked"}
    counts = [f"{part[name]:,} {word}" for name, word in words.items()]
    return ", ".join([*counts, *([f"{part['spent']:.4f} spent"] if "spent" in part else [])])
