"""The result of a bench as one HTML file that asks for nothing from elsewhere: tables to sort and filter, figures, veiled examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sightguard.evaluate.bench_shape import check_bench
from sightguard.report.bench_asking import asking, cap
from sightguard.report.bench_charts import pareto_chart
from sightguard.report.bench_overlap import OVERLAPS, SEEN, WORDED, has_overlap, overlap_lines
from sightguard.report.bench_scores import unlabelled
from sightguard.report.bench_shown import shown
from sightguard.report.bench_tables import WARNINGS, listings, unsettled
from sightguard.report.flat import flat
from sightguard.report.listing import Listing, values_of
from sightguard.report.sealed import joined, policy
from sightguard.report.templates import environment

STYLES = ("report.css", "audit.css", "bench.css")
SCRIPTS = ("bench.js",)
LONGEST = 600
"""Characters of an answer that the page shows."""
FOLDED_FROM = 15
"""Pairs of defenses above which their table is folded up."""
FILTERS = ("defense", "benchmark", "setting", "category")


@dataclass(frozen=True, slots=True)
class BenchAnswer:
    """What one defense answered, and what the judge saw in it."""

    defense: str
    outcome: str
    text: str


@dataclass(frozen=True, slots=True)
class BenchExample:
    """One prompt of the run, by id, with every defense's answer; veiled unless the request is known to be harmless."""

    setting: str
    benchmark: str
    id: str
    category: str | None
    harmless: bool
    answers: tuple[BenchAnswer, ...]


def render_bench(results: Mapping[str, Any], examples: Sequence[BenchExample] = ()) -> str:
    """Return the page as text.

    Args:
        results: what the bench's `results.json` holds.
        examples: to show; answers to harmful prompts stand in the page veiled, until each is opened.

    Raises:
        DataError: `results` does not have the shape of a bench's.
    """
    from markupsafe import Markup

    check_bench(results)
    style, script = joined(STYLES), joined(SCRIPTS)
    tables = listings(results)
    charts = [svg for name in ("over_refusal", "utility") if (svg := pareto_chart(results, name))]
    return (
        environment()
        .get_template("bench.html.j2")
        .render(
            results=results,
            tables=tables,
            folded={"between"}
            if any(one.id == "between" and len(one.lines) > FOLDED_FROM for one in tables)
            else set(),
            undefended=results["baseline"] and shown(results, results["baseline"]),
            filters=_filters(tables),
            charts=[Markup(svg) for svg in charts],  # noqa: S704 - our own drawings: matplotlib escapes what it writes
            left_out=[shown(results, name) for name in results["defenses"] if not _drawn(results, name)],
            unsettled=unsettled(results),
            unlabelled=unlabelled(results),
            warnings=WARNINGS,
            overlap=overlap_lines(results),
            overlaps=OVERLAPS if has_overlap(results) else "",
            seen=(SEEN, WORDED),
            attacks=list(flat(results.get("attacks") or {})),
            agreement=list(flat(results["agreement"] or {})),
            asking=asking(results),
            cap=cap(results),
            manifest=list(flat(results["manifest"])),
            examples=[_example(results, example) for example in examples],
            news=_news,
            style=Markup(style),  # noqa: S704 - our own file
            script=Markup(script),  # noqa: S704 - our own file
            policy=policy(style, script),
        )
    )


def _filters(tables: Sequence[Listing]) -> dict[str, list[str]]:
    found = {name: values_of(tables, name) for name in FILTERS}
    return {name: values for name, values in found.items() if len(values) > 1}


def _drawn(results: Mapping[str, Any], defense: str) -> bool:
    pooled = results["overall"][defense]
    return all((pooled[name] or {}).get("rate") for name in ("asr", "over_refusal", "utility"))


def _example(results: Mapping[str, Any], example: BenchExample) -> dict[str, Any]:
    answers = [
        {"defense": shown(results, one.defense), "outcome": one.outcome.replace("_", " "), "text": _shortened(one.text)}
        for one in example.answers
    ]
    return {"told": example, "answers": answers}


def _news(outcome: str, harmless: bool) -> str:
    """Return whether an outcome is good or bad news."""
    good, bad = (("safe", "complied"), ("refused",)) if harmless else (("refused", "safe"), ("complied", "harmful"))
    return "good" if outcome in good else "bad" if outcome in bad else ""


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
