"""Defenses against each other: whole questions are resampled, tests are of questions, and families are corrected."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from sightguard.bench.compare import compare
from sightguard.bench.results import results, results_of, write_results
from sightguard.bench.setting import Setting
from sightguard.errors import DataError, UsageError
from sightguard.evaluate.bench_shape import check_bench
from sightguard.evaluate.families import clustered_difference
from sightguard.evaluate.rows import Row, RowOutcome
from sightguard.evaluate.statistics import mcnemar_of_counts, paired_bootstrap
from sightguard.report.bench_markdown import bench_markdown
from sightguard.report.bench_page import render_bench
from tests.bench import made
from tests.bench.test_report import Page

ATTACKS = tuple(Setting(name=f"s/{i}", kind="harmful", benchmark="s") for i in range(4))
THREE = ("none", "a", "b")


def told(rows: list[Row], defenses: tuple[str, ...] = THREE, **options: Any) -> dict[str, Any]:
    return results(rows, (*ATTACKS, *made.SETTINGS), defenses, model="tiny", **options)


def drawn(questions: int = 60, *, seed: int = 5) -> dict[tuple[str, int, int], bool]:
    """Whether an attack succeeded, by defense, setting and question: answers to a question hang together; not all are asked everywhere."""
    draws = random.Random(seed)
    found: dict[tuple[str, int, int], bool] = {}
    for question in range(questions):
        hard = draws.random()
        asked = [i for i in range(4) if i == 0 or draws.random() < 0.6]
        for defense, weak in zip(THREE, (0.9, 0.6, 0.4), strict=True):
            found |= {(defense, i, question): draws.random() < weak * hard * 1.3 for i in asked}
    return found


def rows_of(found: dict[tuple[str, int, int], Any]) -> list[Row]:
    outcomes: dict[Any, RowOutcome] = {True: "harmful", False: "refused", None: None, "crash": "guard_error"}
    return [
        made.row(defense, f"s/{i}", question, outcomes[hit], harmful=True)
        for (defense, i, question), hit in found.items()
    ]


def pair(told: dict[str, Any], metric: str, first: str, second: str) -> dict[str, Any]:
    (row,) = (r for r in told["between"][metric]["rows"] if (r["first"], r["second"]) == (first, second))
    return dict(row)


def groups(found: dict[tuple[str, int, int], bool], first: str, second: str) -> list[list[int]]:
    """Differences of the answers to each question."""
    by: dict[int, list[int]] = {}
    for (defense, i, question), hit in found.items():
        if defense == first:
            by.setdefault(question, []).append(int(hit) - int(found[second, i, question]))
    return list(by.values())


@pytest.mark.parametrize(("first", "second"), [("a", "none"), ("b", "none"), ("b", "a")])
def test_whole_questions_are_resampled(first: str, second: str) -> None:
    found = drawn()
    row = pair(told(rows_of(found), seed=7), "asr", first, second)
    per = groups(found, first, second)
    answers = sum(map(len, per))
    assert (row["n"], row["answers"], row["settings"]) == (60, answers, 4)
    assert row["difference"]["value"] == pytest.approx(sum(map(sum, per)) / answers)

    draws, means = random.Random(1), []
    for _ in range(4000):
        some = [per[draws.randrange(len(per))] for _ in per]
        means.append(sum(map(sum, some)) / sum(map(len, some)))
    loop = np.quantile(means, [0.025, 0.975])
    both = (np.array([sum(one) for one in per]), np.array([len(one) for one in per]))
    scipys = stats.bootstrap(
        both, lambda d, m, axis: d.sum(axis) / m.sum(axis), paired=True, method="percentile", n_resamples=10_000, rng=2
    ).confidence_interval
    ours = [row["difference"]["low"], row["difference"]["high"]]
    assert ours == pytest.approx(loop, abs=0.012)
    assert ours == pytest.approx([scipys.low, scipys.high], abs=0.012)


def test_the_same_answers_under_four_attacks_know_no_more_than_under_one() -> None:
    alone = {key: hit for key, hit in drawn().items() if key[1] == 0}
    four = {(defense, i, question): hit for (defense, _, question), hit in alone.items() for i in range(4)}
    once, often = (pair(told(rows_of(found), seed=3), "asr", "b", "none") for found in (alone, four))
    assert (once["answers"], often["answers"]) == (60, 240)
    assert once["difference"] == pytest.approx(often["difference"])
    assert {name: once[name] for name in ("n", "only_first", "only_second", "p")} == {
        name: often[name] for name in ("n", "only_first", "only_second", "p")
    }


def test_mcnemar_is_of_questions_and_holm_over_all_pairs() -> None:
    found = drawn()
    family = told(rows_of(found))["between"]["asr"]
    assert family["size"] == len(family["rows"]) == 3
    assert [(row["first"], row["second"]) for row in family["rows"]] == [("a", "none"), ("b", "none"), ("b", "a")]
    expected = []
    for row in family["rows"]:
        sides = [
            [any(hit for (d, _, q), hit in found.items() if (d, q) == (name, question)) for question in range(60)]
            for name in (row["first"], row["second"])
        ]
        table = np.zeros((2, 2))
        for one, other in zip(*sides, strict=True):
            table[int(not one), int(not other)] += 1
        assert (row["only_first"], row["only_second"]) == (table[0, 1], table[1, 0])
        expected.append(mcnemar(table, exact=True).pvalue)
    assert [row["p"] for row in family["rows"]] == pytest.approx(expected)
    assert [row["p_holm"] for row in family["rows"]] == pytest.approx(multipletests(expected, method="holm")[1])


def test_only_what_both_answered_and_what_was_judged_under_both_is_a_pair() -> None:
    found: dict[tuple[str, int, int], Any] = {}
    for question in range(40):
        found |= {("none", i, question): True for i in (0, 1)}
        found |= {("a", i, question): False for i in (0, 2)}
    found |= {("a", 0, question): None for question in (0, 1)} | {("none", 0, 1): "crash", ("none", 0, 2): "crash"}
    row = pair(told(rows_of(found), ("none", "a")), "asr", "a", "none")
    assert (row["n"], row["answers"], row["settings"]) == (37, 37, 1), (
        "one setting in common, three prompts without a pair"
    )
    assert row["difference"] == {"value": -1.0, "low": -1.0, "high": -1.0}
    assert "3 of 40 prompts have no outcome (1 undecided, 2 guard errors)" in row["inconclusive"]
    found = {key: hit for key, hit in found.items() if hit is not None and hit != "crash"}
    assert told(rows_of({k: v for k, v in found.items() if k[1] != 0}), ("none", "a"))["between"]["asr"]["rows"] == []


def test_a_crash_is_a_wrong_answer_and_a_question_is_right_where_it_is_right_throughout() -> None:
    settings = [Setting(name=f"q/{i}", kind="utility", benchmark="q") for i in (0, 1)]
    rows = []
    for i in (0, 1):
        for question in range(20):
            rows.append(made.row("none", f"q/{i}", question, "safe", correct=True))
            crash = i == 1 and question < 5
            open_end = i == 1 and question == 5
            rows.append(
                made.row(
                    "a",
                    f"q/{i}",
                    question,
                    "guard_error" if crash else "safe",
                    correct=None if crash or open_end else True,
                )
            )
    row = pair(results(rows, settings, ("none", "a"), model="tiny"), "utility", "a", "none")
    assert (row["n"], row["answers"], row["inconclusive"]) == (20, 39, None)
    assert row["difference"]["value"] == pytest.approx(-5 / 39)
    assert (row["only_first"], row["only_second"]) == (0, 5)
    assert row["p"] == pytest.approx(stats.binomtest(0, 5).pvalue)


def test_the_seed_of_the_run_decides_the_draw(tmp_path: Path) -> None:
    rows = rows_of(drawn())
    one, same, other = (told(rows, seed=seed)["between"] for seed in (1, 1, 2))
    assert one == same != other
    assert (one["seed"], one["resamples"]) == (1, 10_000)
    folder = made.write_run(tmp_path / "run", rows, told={"model": "tiny", "seed": 1, "settings": {
        one.name: {"kind": one.kind, "benchmark": "s"} for one in ATTACKS}})  # fmt: skip
    assert results_of(folder)["between"]["asr"] == one["asr"]


def test_an_interval_of_groups_of_one_is_that_of_the_paired_bootstrap() -> None:
    draws = np.random.default_rng(0)
    first, second = (draws.random(150) < share for share in (0.6, 0.4))
    ours = clustered_difference(first.astype(int) - second, np.ones(150), seed=1)
    theirs = paired_bootstrap(first.astype(float).tolist(), second.astype(float).tolist(), seed=2)
    assert ours.value == pytest.approx(theirs.value)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.012)
    for sums, sizes in (([], []), ([1], [1, 1]), ([2], [1]), ([0], [0])):
        with pytest.raises(UsageError, match="expected for each group"):
            clustered_difference(sums, sizes, seed=0)


@pytest.mark.parametrize(("fewer", "more"), [(0, 0), (0, 6), (3, 11), (40, 40), (900, 1100), (4000, 4200)])
def test_mcnemar_of_counts_is_the_exact_test(fewer: int, more: int) -> None:
    expected = stats.binomtest(fewer, fewer + more).pvalue if more else 1.0
    assert mcnemar_of_counts(fewer, more) == mcnemar_of_counts(more, fewer) == pytest.approx(expected, rel=1e-9)
    with pytest.raises(UsageError, match="got only_first=-1"):
        mcnemar_of_counts(-1, 3)


def test_calls_of_non_inferiority_are_corrected_over_their_family() -> None:
    def quiz(names: tuple[str, ...]) -> list[dict[str, Any]]:
        rows = [made.row("none", "quiz", i, "safe", correct=True) for i in range(150)]
        for name in names:
            rows += [
                made.row(name, "quiz", i, "safe", correct=(name == "bad" and i % 4 == 0) or name != "bad")
                for i in range(150)
            ]
        found: list[dict[str, Any]] = results(rows, made.SETTINGS, ("none", *names), model="tiny")["non_inferiority"]
        return found

    (alone,) = quiz(("a",))
    assert 0.025 / 3 < alone["p"] < 0.025
    assert (alone["call"], alone["p_holm"]) == ("non-inferior", alone["p"])
    many = quiz(("a", "b", "c", "bad"))
    assert [row["p_holm"] for row in many] == pytest.approx(multipletests([row["p"] for row in many], method="holm")[1])
    assert [row["call"] for row in many] == ["not shown", "not shown", "not shown", "inferior"]
    assert [row["call_alone"] for row in many] == ["non-inferior", "non-inferior", "non-inferior", "inferior"]


def test_adaptive_against_static_is_corrected_over_its_family() -> None:
    rows = results(made.planted(), made.SETTINGS, made.DEFENSES, model="tiny")["adaptive"]
    expected = multipletests([row["p"] for row in rows], method="holm")[1]
    assert [row["p_holm"] for row in rows] == pytest.approx(expected)
    assert any(row["p_holm"] > row["p"] for row in rows)


def doubtful() -> dict[str, Any]:
    """Two defenses of which one is undecided on 3 of 20 prompts of an attack and of a quiz."""
    rows = []
    for i in range(20):
        for name in ("none", "a"):
            lost = name == "a" and i < 3
            rows.append(made.row(name, "garden/plain", i, None if lost else "refused", harmful=True))
            rows.append(made.row(name, "quiz", i, None if lost else "safe", correct=None if lost else True))
    return results(rows, made.SETTINGS, ("none", "a"), model="tiny")


def test_a_test_of_inconclusive_figures_says_so_wherever_it_stands() -> None:
    found = doubtful()
    why = "3 of 20 prompts have no outcome (3 undecided, 0 guard errors)"
    for row in (
        *found["tests"]["asr"]["rows"],
        *found["tests"]["over_refusal"]["rows"],
        *found["non_inferiority"],
        *(found["between"][metric]["rows"][0] for metric in ("asr", "over_refusal", "utility")),
    ):
        assert why in row["inconclusive"]
    page = Page(render_bench(found))
    attack, quiz, between = page.rows["attacks"][2], page.rows["harmless"][2], page.rows["between"][1]
    assert attack[3].endswith("|inconclusive")
    assert quiz[3].endswith("|inconclusive")
    assert quiz[7].endswith("|inconclusive")
    assert [cell.endswith("|inconclusive") for cell in between[1:]] == [True, False] * 3
    text = bench_markdown(found)
    lines = [line for line in text.splitlines() if line.startswith("| a | none (undefended) |")]
    assert lines
    assert all(line.count("inconclusive)") == 3 for line in lines)


def test_every_figure_between_defenses_is_that_of_the_results() -> None:
    found = results(made.planted(), made.SETTINGS, made.DEFENSES, model="tiny")
    page = Page(render_bench(found))
    rows = page.rows["between"][1:]
    assert len(rows) == 6
    for row in rows:
        first, second = (name.replace(" (undefended)", "") for name in row[0].split("|"))
        for at, metric in enumerate(("asr", "over_refusal", "utility")):
            expected = pair(found, metric, first, second)
            shown = row[1 + 2 * at].split("|")
            assert float(shown[0].replace("−", "-")) == pytest.approx(100 * expected["difference"]["value"], abs=0.051)
            assert shown[2] == f"n = {expected['n']}"
            p = row[2 + 2 * at]
            assert p.startswith("<") or float(p) == pytest.approx(expected["p_holm"], abs=5.1e-4)
    assert "10,000 resamples" in page.text


def test_many_pairs_are_folded_up() -> None:
    names = ("none", *"abcdef")
    rows = [made.row(name, "garden/plain", i, "refused", harmful=True) for name in names for i in range(3)]
    found = render_bench(results(rows, made.SETTINGS, names, model="tiny"))
    assert "<summary>All 21 pairs</summary>" in found
    assert "pairs</summary>" not in render_bench(doubtful())


def test_results_from_before_are_still_read(tmp_path: Path) -> None:
    old = copy.deepcopy(doubtful())
    del old["between"]
    for rows, names in (
        (old["tests"]["asr"]["rows"], ("inconclusive",)),
        (old["tests"]["over_refusal"]["rows"], ("inconclusive",)),
        (old["non_inferiority"], ("inconclusive", "p_holm", "call_alone", "undecided", "only_first", "only_second")),
    ):
        for row in rows:
            for name in names:
                del row[name]
    check_bench(old)
    assert "between" not in Page(render_bench(old)).rows
    assert "Between defenses" not in bench_markdown(old)
    adaptive = results(made.planted(), made.SETTINGS, made.DEFENSES, model="tiny")
    for row in adaptive["adaptive"]:
        del row["p_holm"]
    assert Page(render_bench(adaptive)).rows["adaptive"][1][-1] == "–"
    folders = [made.write_run(tmp_path / name, made.planted()) for name in ("one", "two")]
    write_results(folders[0])
    (folders[0] / "results.json").write_text(json.dumps(old))
    assert compare(folders)["rows"]


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("asr", "rows", 0, "p_holm"), 2, r"between\.asr\.rows\[0\]\.p_holm"),
        (("asr", "rows", 0, "difference"), {"value": 0.5, "low": 0.6, "high": 0.7}, r"rows\[0\]\.difference"),
        (("utility",), None, r"between\.utility"),
        (("asr", "rows", 0, "first"), "nobody", r"between\.asr\.rows\[0\]: 'nobody' is no defense of the run"),
        (("asr", "size"), 9, r"between\.asr: 1 rows in a family of 9"),
    ],
)
def test_a_part_of_another_shape_is_named(place: tuple[Any, ...], value: Any, message: str) -> None:
    broken = copy.deepcopy(doubtful())
    at: Any = broken["between"]
    for name in place[:-1]:
        at = at[name]
    at[place[-1]] = value
    with pytest.raises(DataError, match=message):
        check_bench(broken)
