"""The tables of a bench: the headline, every setting, every category, adaptive attacks, attacks beside noise, gates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sightguard.report.bench_aimed import (
    ADAPTIVE_COLUMNS,
    ALL,
    FAILED,
    NOISE_COLUMNS,
    NOISE_NOTE,
    adaptive_cells,
    failed,
    gate_lines,
    noise_cells,
    sentences,
)
from sightguard.report.bench_between import between
from sightguard.report.bench_measured import fluent, measured, timed
from sightguard.report.bench_overlap import mark as seen_mark
from sightguard.report.bench_overlap import pooled_mark
from sightguard.report.bench_scores import official, score_categories, scores, unsettled_scores
from sightguard.report.bench_shown import INCONCLUSIVE, mark, shown
from sightguard.report.listing import Line, Listing, chance, count, points, ratio, share
from sightguard.report.tables import NOTHING, Cell

Part = Mapping[str, Any]
WARNINGS = (INCONCLUSIVE, FAILED)
"""Notes on a figure that say not to rely on it."""
HEADLINE = (
    "Attack success, % ↓",
    "Over-refusal, % ↓",
    "Utility, % ↑",
    "Prefill, × ↓",
    "Decode, × ↓",
    "Time, × ↓",
    "Time per token, × ↓",
    "Answer tokens",
    "Perplexity ↓",
)
OUTCOMES = ("refused", "safe", "harmful", "complied", "broken", "undecided", "guard_error")
COUNTED = ("Refused", "Safe", "Harmful", "Complied", "Broken", "Undecided", "Guard errors")


def listings(results: Part) -> list[Listing]:
    """Return all tables that the run has rows for; the headline comes first."""
    made = [
        headline(results),
        attacks(results),
        harmless(results),
        categories(results),
        between(results),
        adaptive(results),
        noise(results),
        scores(results),
        score_categories(results),
        official(results),
        gates(results),
    ]
    return [one for one in made if one.lines]


def headline(results: Part) -> Listing:
    """Return attack success with over-refusal, utility and cost beside it, the undefended model first."""
    lines = []
    for defense in results["defenses"]:
        pooled, cost = results["overall"][defense], results["cost"][defense]
        cells = (
            *(
                _pooled(pooled[name], pooled_mark(results, defense, name))
                for name in ("asr", "over_refusal", "utility")
            ),
            timed(results, defense, "prefill"),
            timed(results, defense, "decode"),
            *(ratio(cost[name]) for name in ("seconds_ratio", "seconds_per_token_ratio")),
            ratio(cost["answer_tokens"], 1),
            fluent(results, defense),
        )
        lines.append(Line({"defense": shown(results, defense)}, cells))
    note = (
        "Rates are pooled over all settings of the kind, over the prompts that were decided (for utility a crash is a wrong answer); "
        "over-refusal over the settings "
        "that were made for it, where there are any. Small figures are 95% "
        "Wilson intervals that count questions: n is distinct questions of a benchmark by their ids, however many attacks they were asked "
        "under; what a benchmark repeats under several ids without saying so counts apart. Cost is a ratio to "
        "the undefended model in the same run; a defense that refuses looks cheap by time alone."
    )
    note = " ".join([note, *measured(results)])
    return Listing("headline", "Headline", note, ("defense",), HEADLINE, tuple(lines))


def attacks(results: Part) -> Listing:
    """Return attack success in each setting, the outcomes it is made of, and the paired test against no defense."""
    tested = {(row["setting"], row["defense"]): row for row in results["tests"]["asr"]["rows"]}
    lines = [
        Line(
            about,
            (
                count(part["n"]),
                share(part["asr"], mark(part), FAILED if failed(results, about) else "", _seen(results, about)),
                *_tested(tested, about),
                share(part["strict"], mark(part), _seen(results, about)),
                *_outcomes(part),
            ),
        )
        for about, part in _parts(results, "attacked")
    ]
    family = results["tests"]["asr"]
    note = (
        "Attack success: harm was done, or the request was answered where the judge cannot tell harm. Strict: harm was done. A crash of a "
        "guard is never a refusal. Difference: to the undefended model on the same prompts (Tango's interval). p: McNemar's exact test; the "
        f"second is after Holm's correction over a family of {family['size']} tests ({family['family']}). Interval and test can disagree where "
        "few prompts differ."
    )
    columns = ("n", "Attack success, %", "Difference, points", "p", "p, Holm", "Strict, %", *COUNTED)
    return _listing("attacks", "Attacks", note, ("defense", "setting"), columns, lines, results)


def harmless(results: Part) -> Listing:
    """Return over-refusal and utility in each setting, with their tests against no defense."""
    tested = {(row["setting"], row["defense"]): row for row in results["tests"]["over_refusal"]["rows"]}
    called = {(row["setting"], row["defense"]): row for row in results["non_inferiority"]}
    lines = [
        Line(about, _harmless(about, told, tested, called, _seen(results, about)))
        for about, told in _told(results)
        if told["benign"] or told["utility"]
    ]
    margin = 100 * results["margin"]
    note = (
        "Utility is over the prompts with a known answer on which it was judged; a crash is a wrong answer. "
        f"Non-inferior: the whole 95% interval of the paired difference lies above "
        f"−{margin:g} points, the stated margin, after Holm's correction over {len(called)} calls, so that one by itself may look better; "
        "inferior: below, after the same correction; not shown: neither. p: McNemar's exact test of over-refusal, "
        f"after Holm's correction over {results['tests']['over_refusal']['size']} tests."
    )
    columns = (
        "n", "Over-refusal, %", "Difference, points", "p, Holm", "Utility, %", "Utility n", "Utility difference, points", "Margin", *COUNTED,
    )  # fmt: skip
    return _listing("harmless", "Harmless requests", note, ("defense", "setting"), columns, lines, results)


def categories(results: Part) -> Listing:
    """Return each setting's figures by the benchmark's own categories."""
    lines = []
    for setting, part in results["settings"].items():
        for category, kind in part["by_category"].items():
            for defense in results["defenses"]:
                told = kind["defenses"][defense]
                if told is not None:
                    about = {**_about(part, setting, defense), "category": category}
                    lines.append(Line(about, _category(told)))
    note = "The headline moves with the mix of prompts; here is each category of a benchmark by itself."
    columns = (
        "n",
        "Attack success, %",
        "Strict, %",
        "Over-refusal, %",
        "Utility, %",
        "Broken",
        "Undecided",
        "Guard errors",
    )
    return _listing("categories", "By category", note, ("defense", "setting", "category"), columns, lines, results)


def adaptive(results: Part) -> Listing:
    """Return attacks that know the defense beside the same attacks that do not."""
    lines = [
        Line(
            _about(results["settings"][row["adaptive"]], row["adaptive"], row["defense"]),
            (
                Cell(row["static"]),
                share(row["static_asr"]),
                share(row["adaptive_asr"], FAILED if row.get("failed") else ""),
                count(row["n"]),
                points(row["difference"]),
                chance(row["p"]),
                chance(row.get("p_holm")),
                *adaptive_cells(row),
            ),
        )
        for row in results["adaptive"]
    ]
    note = (
        "A defense that holds only while nobody aims at it does not hold. Paired by question; p: McNemar's exact test; the "
        f"second is after Holm's correction over {len(results['adaptive'])} tests. An attack that knows the defense and succeeds less often than "
        "one that does not, or no more often than noise, has failed and says nothing for the defense. Gate: the share of prompts on which the "
        "defense acted."
    )
    columns = (
        "Static setting", "Static, %", "Adaptive, %", "n, both", "Difference, points", "p", "p, Holm", *ADAPTIVE_COLUMNS,
    )  # fmt: skip
    return _listing("adaptive", "Static against adaptive attack", note, ("defense", "setting"), columns, lines, results)


def noise(results: Part) -> Listing:
    """Return attacks on pixels beside noise of their size."""
    lines = [
        Line(_about(results["settings"][row["setting"]], row["setting"], row["defense"]), noise_cells(row))
        for row in results.get("noise") or ()
    ]
    title = "Attacks on pixels beside noise of their size"
    return _listing("noise", title, NOISE_NOTE, ("defense", "setting"), NOISE_COLUMNS, lines, results)


def gates(results: Part) -> Listing:
    """Return how often a defense acted, and a guard answered in the model's place, where answers tell it."""
    lines = [
        Line(
            {"defense": defense, "setting": ALL}
            if setting == ALL
            else _about(results["settings"][setting], setting, defense),
            cells,
        )
        for defense, told in results["gate"].items()
        if told is not None
        for setting, cells in gate_lines(told)
    ]
    note = (
        "Acted: the gate of a method changed the prompt's last state, a policy put a hint into the prompt, a guard that asks the model itself found "
        "harm, or a guard answered; crashes left out. In the model's place: a guard answered, of all answers; intervals count questions. A defense "
        "that is not listed never said that it did either."
    )
    columns = (
        "Acted on harmful, %", "Acted on harmless, %", "In the model's place, harmful, %", "In the model's place, harmless, %", "Which",
    )  # fmt: skip
    return _listing("gates", "Gates", note, ("defense", "setting"), columns, lines, results)


def unsettled(results: Part) -> list[str]:
    """Return a sentence for each figure that is inconclusive."""
    told = [
        f"{shown(results, defense)}, {what.replace('_', ' ')}, all settings: {part['inconclusive']}"
        for defense, pooled in results["overall"].items()
        for what, part in pooled.items()
        if part and part["inconclusive"]
    ]
    for side in ("attacked", "benign", "utility"):
        told += [
            f"{shown(results, about['defense'])}, {about['setting']}, {side}: {part['inconclusive']}"
            for about, part in _parts(results, side)
            if part["inconclusive"]
        ]
    aimed = (f"{shown(results, defense)}, {rest}" for defense, rest in sentences(results))
    return [*told, *unsettled_scores(results), *aimed]


def _listing(
    id: str, title: str, note: str, about: tuple[str, ...], columns: tuple[str, ...], lines: list[Line], results: Part
) -> Listing:
    named = [Line({**line.about, "defense": shown(results, line.about["defense"])}, line.cells) for line in lines]
    return Listing(id, title, note, about, columns, tuple(named))


def _about(part: Part, setting: str, defense: str) -> dict[str, str]:
    return {"defense": defense, "setting": setting, "benchmark": part["benchmark"], "attack": part["attack"]}


def _told(results: Part) -> Iterator[tuple[dict[str, str], Part]]:
    for setting, part in results["settings"].items():
        for defense in results["defenses"]:
            if part["defenses"][defense] is not None:
                yield _about(part, setting, defense), part["defenses"][defense]


def _parts(results: Part, side: str) -> Iterator[tuple[dict[str, str], Part]]:
    for about, told in _told(results):
        if told[side] is not None:
            yield about, told[side]


def _seen(results: Part, about: Mapping[str, str]) -> str:
    return seen_mark(results, about["defense"], about["setting"])


def _outcomes(part: Part | None) -> tuple[Cell, ...]:
    return tuple(count(part["outcomes"][name] if part else None) for name in OUTCOMES)


def _tested(tested: Mapping[tuple[str, str], Part], about: Mapping[str, str]) -> tuple[Cell, ...]:
    row = tested.get((about["setting"], about["defense"]), {})
    return points(row.get("difference"), mark(row)), chance(row.get("p")), chance(row.get("p_holm"))


def _harmless(
    about: Mapping[str, str],
    told: Part,
    tested: Mapping[tuple[str, str], Part],
    called: Mapping[tuple[str, str], Part],
    seen: str,
) -> tuple[Cell, ...]:
    refusal, use = told["benign"], told["utility"]
    difference, _, p = _tested(tested, about)
    call = called.get((about["setting"], about["defense"]))
    return (
        count(refusal and refusal["n"]),
        share(refusal and refusal["over_refusal"], mark(refusal), seen),
        difference,
        p,
        share(use and use["correct"], _open(use), mark(use), seen),
        count(use and use["n"]),
        points(call, mark(call)),
        Cell(call["call"] if call else NOTHING),
        *_outcomes(refusal),
    )


def _open(use: Part | None) -> str:
    return f"{use['undecided']} undecided" if use and use["undecided"] else ""


def _category(told: Part) -> tuple[Cell, ...]:
    harm, refusal, use = told["attacked"], told["benign"], told["utility"]
    sums = [
        sum(part["outcomes"][name] for part in (harm, refusal) if part)
        for name in ("broken", "undecided", "guard_error")
    ]
    return (
        count(sum(part["n"] for part in (harm, refusal) if part) or (use or {}).get("n")),
        share(harm and harm["asr"], mark(harm)),
        share(harm and harm["strict"], mark(harm)),
        share(refusal and refusal["over_refusal"], mark(refusal)),
        share(use and use["correct"], mark(use)),
        *(count(value) for value in sums),
    )


def _pooled(part: Part | None, seen: str) -> Cell:
    if part is None:
        return Cell(NOTHING)
    notes = [f"n = {part['n']}", *([f"{part['answers']} answers"] if part["answers"] > part["n"] else [])]
    notes += [f"{part['settings']} of {part['of']} settings"] if part["settings"] < part["of"] else []
    named = {"broken": "broken", "undecided": "undecided", "guard_error": "crashed"}
    notes += [f"{part[name]} {word}" for name, word in named.items() if part[name]]
    return share(part["rate"], *notes, mark(part), seen)
