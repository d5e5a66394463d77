"""What a bench will take, in words: what nobody knows is said to be unknown, with how to find it out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Part = Mapping[str, Any]
HOW = "ask a few prompts first (--limit 8 --out FOLDER), then --dry-run --like FOLDER; or give --seconds-per-answer"
NO_PRICE = "unknown: give its prices ({})"


def estimate_lines(told: Part) -> list[tuple[str, str]]:
    """Return the lines of an estimate as `sightguard.bench.dry.dry_run` makes it."""
    judges, passes = told["judges"], told["gradient_passes"].values()
    lines = [
        ("defenses", ", ".join(told["defenses"])),
        ("answers", _range(told["calls"])),
        *(
            [("of them, to noise beside attacks", _range(told["noise_calls"]))]
            if told["noise_calls"]["at_most"]
            else []
        ),
        ("tokens read, about", f"{told['tokens_read']:,}"),
        ("tokens written, at most", f"{told['tokens_written_at_most']:,}"),
        ("questions to judges", f"{judges['calls']:,}"),
    ]
    if judges["calls"]:
        lines += [
            ("tokens that judges read, about", f"{judges['tokens_read']:,}"),
            ("tokens that judges write, at most", f"{judges['tokens_written_at_most']:,}"),
        ]
    if passes:
        sums = {name: sum(one[name] for one in passes) for name in ("at_least", "at_most")}
        lines.append(("gradient passes of attacks", _range(sums)))
    lines.append(("time of the answers, about", _time(told["seconds"])))
    if gradients := told["seconds"]["gradients"]:
        lines.append(("time of the gradients, about", _span(gradients)))
    if judges["seconds_at_least"] is not None and judges["calls"]:
        lines.append(("time of the judges, at least", duration(judges["seconds_at_least"])))
    lines.append(("money for the model, about", _money(told["money"], "--price")))
    return [*lines, ("money for judges, about", _money(judges["money"], "--judge-price"))]


def not_in_it(told: Part) -> Iterator[str]:
    """Yield what the estimate leaves out."""
    seconds = told["seconds"]
    if seconds["at_least"] is None:
        yield f"The time is not known: {HOW}."
    elif seconds["unknown"]:
        yield f"The time is without {', '.join(seconds['unknown'])}, of which nothing was measured: {HOW}."
    left = ["loading", "fitting", "judges that ask a model"]
    if seconds["gradients"] and seconds["gradients"]["at_least"] is None:
        yield "The time of the gradients is not known: a run of a few prompts under the same attacks measures it (--like)."
    if seconds["at_least"] is not None:
        yield f"Not in the time: {', '.join(left)}."
    if any(value for value in (told["money"], told["judges"]["money"])):
        yield "Money counts every answer at its longest, tokens are guessed from letters, and repeats after a failure are not counted."
    most = told["judges"]["max_spend"]
    if most is not None and told["judges"]["money"] == most:
        yield f"Judging would cost more than may be spent ({most:g}): answers that it does not pay for stay undecided."


def duration(seconds: float) -> str:
    """Return seconds as a reader says them.

    Example:
        >>> [duration(seconds) for seconds in (4.2, 300, 9000)]
        ['4 s', '5 min', '2.5 h']
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _time(told: Part) -> str:
    return _span(told) if told["at_least"] is None else f"{_span(told)} ({told['source']})"


def _span(told: Part) -> str:
    if told["at_least"] is None:
        return "unknown"
    low, high = duration(told["at_least"]), duration(told["at_most"])
    return low if low == high else f"{low} to {high}"


def _money(sum: float | None, option: str) -> str:
    return NO_PRICE.format(option) if sum is None else f"{sum:.4g}" if sum else "nothing"


def _range(told: Part) -> str:
    low, high = f"{told['at_least']:,}", f"{told['at_most']:,}"
    return low if low == high else f"{low} to {high}"
