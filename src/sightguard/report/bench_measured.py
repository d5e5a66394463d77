"""What a bench measured beside its answers, as cells of the headline, and the sentences that say what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from sightguard.report.listing import ratio
from sightguard.report.tables import Cell

Part = Mapping[str, Any]


def timed(results: Part, defense: str, what: Literal["prefill", "decode"]) -> Cell:
    """Return a ratio of times with its spread over the rounds below, or why there is none."""
    cost = results["cost"][defense]
    cell, spread = ratio(cost[f"{what}_ratio"]), cost[f"{what}_range"]
    notes = [f"{spread[0]:.2f}–{spread[1]:.2f}"] if spread and defense != results["baseline"] else []
    if cell.value is None:
        notes += [cost["note"]] if cost["note"] else []
    elif what == "decode" and results["timing"] and cost["n_decode"] is not None:
        n = results["timing"]["n"]
        notes += [f"on {cost['n_decode']} of {n}"] if cost["n_decode"] < n else []
    return Cell(cell.text, ", ".join(notes), cell.value)


def fluent(results: Part, defense: str) -> Cell:
    """Return the perplexity with the number of answers below, and how many were left out."""
    cell = ratio(results["perplexity"][defense])
    told = (results["fluency"] or {}).get("answers", {}).get(defense)
    if told is None:
        return cell
    notes = [f"n = {told['n']}", *(f"{told[name]} {name}" for name in ("empty", "crashed") if told[name])]
    return Cell(cell.text, ", ".join(notes), cell.value)


def measured(results: Part) -> list[str]:
    """Return what is to be known of the clock and of perplexity, where the run took them."""
    told = []
    if timing := results["timing"]:
        told.append(
            f"Prefill is the time to the end of a one-token answer, decode that of each further token up to {timing['tokens']}: medians of "
            f"{timing['rounds']} rounds in which the defenses take turns, over {timing['n']} prompts asked together, {timing['pictured']} with "
            "pictures; below, the smallest and the largest of a round. A defense that asks the model several times pays for it each time."
        )
    if fluency := results["fluency"]:
        told.append(
            "Perplexity of answers to benign prompts under the undefended model, which reads the words of the prompt and the answer and no "
            f"picture: {fluency['prompts']} prompts of {', '.join(fluency['settings']) or 'no setting'}; n: answers, empty ones left out."
        )
    return told
