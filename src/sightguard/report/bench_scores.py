"""Mean scores of judges, figures as a benchmark's makers count them, and prompts without a label; results that were written before have none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sightguard.report.listing import Line, Listing, count
from sightguard.report.tables import NOTHING, Cell

Part = Mapping[str, Any]
COLUMNS = ("Mean score", "Scale", "Scored", "Of", "Undecided", "Not asked about", "Guard errors")
INCONCLUSIVE = "inconclusive"


def scores(results: Part) -> Listing:
    """Return the mean score of each judge by defense and setting."""
    told = results.get("scores") or {"settings": {}}
    lines = [
        line for setting, part in told["settings"].items() for line in _lines(results, setting, part["defenses"], {})
    ]
    return Listing("scores", "Mean scores", _note(results), ("defense", "setting", "judge"), COLUMNS, tuple(lines))


def score_categories(results: Part) -> Listing:
    """Return the same by the benchmark's own categories."""
    told = results.get("scores") or {"settings": {}}
    lines = [
        line
        for setting, part in told["settings"].items()
        for category, defenses in part["by_category"].items()
        for line in _lines(results, setting, defenses, {"category": category})
    ]
    about = ("defense", "setting", "category", "judge")
    note = "Each category of a benchmark by itself; intervals as above."
    return Listing("score_categories", "Mean scores by category", note, about, COLUMNS, tuple(lines))


def official(results: Part) -> Listing:
    """Return the figures that a benchmark's makers count by: MME's score, the average of RTVLM's table."""
    lines = []
    for setting, part in (results.get("official") or {}).items():
        for defense in results["defenses"]:
            told = part["defenses"][defense]
            if told is not None:
                cells = (
                    _mme(told) if part["benchmark"] == "mme" else [("average of the ten sub-tasks, 0–10", _rtvlm(told))]
                )
                about = {**_about(results, setting, defense), "judge": part.get("judge", "")}
                lines += [Line({**about, "figure": figure}, (cell,)) for figure, cell in cells]
    note = (
        "MME: accuracy by question plus accuracy by picture, in per cent, summed over tasks; an answer that is undecided counts as wrong. RTVLM: the "
        "plain mean of the ten sub-tasks' mean scores with its bootstrap interval. Never to be read beside published figures of another judge."
    )
    return Listing(
        "official", "As their makers count", note, ("defense", "setting", "figure"), ("Figure",), tuple(lines)
    )


def unsettled_scores(results: Part) -> list[str]:
    """Return a sentence for each mean over too few of its answers."""
    settings = (results.get("scores") or {"settings": {}})["settings"]
    return [
        f"{_about(results, setting, defense)['defense']}, {setting}, mean score of {judge}: {told['inconclusive']}"
        for setting, part in settings.items()
        for defense in results["defenses"]
        for judge, told in (part["defenses"][defense] or {}).items()
        if told and told["inconclusive"]
    ]


def unlabelled(results: Part) -> list[str]:
    """Return a sentence for each setting with prompts that are labelled neither harmful nor harmless."""
    return [
        _sentence(setting, part["n"], told, results)
        for setting, part in results["settings"].items()
        if (told := part.get("unlabelled")) and told["n"]
    ]


def _sentence(setting: str, n: int, told: Part, results: Part) -> str:
    also = [f"for utility ({told['in_utility']}, whose right answer is known)"] if told["in_utility"] else []
    also += ["for the mean score"] if results.get("scores") else []
    rest = f"they count {' and '.join(also)} alone" if also else "they count for nothing"
    return (
        f"{setting}: {told['n']} of {n} prompts are labelled neither harmful nor harmless, and count neither for attack success nor for "
        f"over-refusal; {rest}."
    )


def _lines(results: Part, setting: str, defenses: Part, more: Mapping[str, str]) -> Iterator[Line]:
    judges = results["scores"]["judges"]
    for defense in results["defenses"]:
        for judge, told in (defenses[defense] or {}).items():
            if told is not None:
                about = {**_about(results, setting, defense), **more, "judge": judge}
                yield Line(about, _cells(told, judges[judge]))


def _about(results: Part, setting: str, defense: str) -> dict[str, str]:
    part = results["settings"][setting]
    shown = f"{defense} (undefended)" if defense == results["baseline"] else defense
    return {"defense": shown, "setting": setting, "benchmark": part["benchmark"], "attack": part["attack"]}


def _cells(told: Part, scale: Part) -> tuple[Cell, ...]:
    known = scale["lowest"] is not None and scale["highest"] is not None
    return (
        _mean(told, INCONCLUSIVE if told["inconclusive"] else ""),
        Cell(f"{scale['lowest']:g}–{scale['highest']:g}" if known else NOTHING),
        *(count(told[name]) for name in ("n", "prompts", "undecided", "unscored", "guard_error")),
    )


def _mean(told: Part, mark: str, name: str = "mean") -> Cell:
    if told[name] is None:
        return Cell(NOTHING, mark)
    interval = "" if told["low"] is None else f"{told['low']:.2f}–{told['high']:.2f}"
    return Cell(f"{told[name]:.2f}", ", ".join(note for note in (interval, mark) if note), told[name])


def _rtvlm(told: Part) -> Cell:
    mark = INCONCLUSIVE if told["inconclusive"] else ""
    return _mean(told, mark, "average") if told["average"] is not None else Cell(NOTHING, _in_one(told["reason"]))


def _mme(told: Part) -> list[tuple[str, Cell]]:
    mark = INCONCLUSIVE if told["inconclusive"] else ""
    left_out = f", {told['left_out']} left out with one question" if told["left_out"] else ""
    counted = f"{told['pictures']} pictures{left_out}"
    sums = (("total", 2800, counted), ("perception", 2000, ""), ("cognition", 800, ""))
    cells = [(what, _sum(told[what], told["reason"], f"of {most}", more, mark)) for what, most, more in sums]
    return [*cells, *((task, Cell(f"{value:.1f}", "of 200", value)) for task, value in told["tasks"].items())]


def _sum(value: float | None, reason: str | None, *notes: str) -> Cell:
    if value is None:
        return Cell(NOTHING, _in_one(reason or ""))
    return Cell(f"{value:.1f}", ", ".join(note for note in notes if note), value)


def _in_one(text: str) -> str:
    """Return a reason as one note: notes are told apart by commas."""
    return text.replace(", ", " and ")


def _note(results: Part) -> str:
    told = results.get("scores")
    if not told:
        return ""
    says = "; ".join(f"{name}: {scale['says']}" for name, scale in told["judges"].items() if scale["says"])
    return (
        f"Means of the numbers that judges gave, over all prompts of a setting, with 95% intervals ({told['interval']}) that know nothing of "
        f"how well a judge judges. Not asked about: a guard answered in the model's place, or the answer was broken. {says}{'.' if says else ''}"
    ).strip()
