"""What nobody could judge is in no rate and no pair; what a crash took away is a wrong answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from statsmodels.stats.proportion import proportion_confint

from sightguard.bench.compare import compare
from sightguard.bench.judges.seen import Seen, judged
from sightguard.bench.results import results
from sightguard.bench.setting import Setting, SettingKind
from sightguard.evaluate.judges import RefusalPhrases
from sightguard.evaluate.rows import Row
from sightguard.report.bench_markdown import bench_markdown
from sightguard.types import Response, Sample
from tests.bench import made


def quiz(right: int, defense: str = "d", *, undecided: int = 0, crashed: int = 0) -> list[Row]:
    """100 answers: right ones first, then wrong ones, then such as nobody could judge, then crashes."""
    rows = []
    for i in range(100):
        if i >= 100 - crashed:
            rows.append(made.row(defense, "q", i, "guard_error", harmful=False))
        elif i >= 100 - crashed - undecided:
            rows.append(made.row(defense, "q", i, None, harmful=False))
        else:
            rows.append(made.row(defense, "q", i, "safe", harmful=False, correct=i < right))
    return rows


def told(*rows: Sequence[Row], kind: SettingKind = "utility") -> dict[str, Any]:
    every = [row for part in rows for row in part]
    names = list(dict.fromkeys(row.condition for row in every))
    return results(every, [Setting(name="q", kind=kind)], names, model="tiny")


@pytest.mark.parametrize(
    ("right", "lost", "count", "n", "undecided", "marked"),
    [
        (95, {"undecided": 5}, 95, 95, 5, False),
        (94, {"undecided": 6}, 94, 94, 6, True),
        (95, {"crashed": 5}, 95, 100, 0, False),
        (90, {"undecided": 4, "crashed": 6}, 90, 96, 4, False),
        (95, {}, 95, 100, 0, False),
        (0, {"undecided": 100}, None, None, 100, True),
    ],
)
def test_utility_is_over_what_was_judged_and_what_crashed(
    right: int, lost: dict[str, int], count: int | None, n: int | None, undecided: int, marked: bool
) -> None:
    found = told(
        quiz(100, defense="none"), quiz(right, undecided=lost.get("undecided", 0), crashed=lost.get("crashed", 0))
    )
    part, pooled = found["settings"]["q"]["defenses"]["d"]["utility"], found["overall"]["d"]["utility"]
    for one, rate in ((part, part["correct"]), (pooled, pooled["rate"])):
        assert (one["n"], one["undecided"]) == (100, undecided)
        assert (one["inconclusive"] is not None) == marked
        assert (rate and rate["count"], rate and rate["n"]) == (count, n)
        if rate:
            assert (rate["low"], rate["high"]) == pytest.approx(proportion_confint(count, n, method="wilson"), abs=1e-9)


def test_non_inferiority_pairs_what_was_judged_on_both_sides() -> None:
    (row,) = told(quiz(100, defense="none"), quiz(95, undecided=5))["non_inferiority"]
    assert (row["n"], row["undecided"], row["only_second"], row["value"]) == (95, 5, 0, 0.0)
    assert row["inconclusive"] is None
    (row,) = told(quiz(95, undecided=5, defense="none"), quiz(94, undecided=6))["non_inferiority"]
    assert (row["n"], row["undecided"]) == (94, 6), "the same five, and one more"
    assert "6 of 100 prompts have no outcome (6 undecided, 0 guard errors)" in row["inconclusive"]
    (row,) = told(quiz(100, defense="none"), quiz(95, crashed=5))["non_inferiority"]
    assert (row["n"], row["undecided"], row["only_second"], row["value"]) == (100, 0, 5, -0.05)
    assert told(quiz(100, defense="none"), quiz(0, undecided=100))["non_inferiority"] == []


def test_what_nobody_at_all_could_judge_does_not_vanish_from_a_setting_of_known_answers() -> None:
    for names in (("none",), ("none", "d")):
        found = told(*(quiz(94, undecided=6, defense=name) for name in names))
        part = found["settings"]["q"]["defenses"]["none"]["utility"]
        assert (part["n"], part["undecided"], part["correct"]["n"]) == (100, 6, 94)
        assert part["inconclusive"] is not None
    mixed = told(quiz(94, undecided=6, defense="none"), kind="over-refusal")
    assert mixed["settings"]["q"]["n_answerable"] == 94, "here an answer need not be known"


def test_runs_are_compared_by_the_same_rule(tmp_path: Path) -> None:
    about = made.about(settings={"q": {"kind": "utility"}})
    plain = quiz(100, defense="none")
    one = made.write_run(tmp_path / "one", [*plain, *quiz(95)], told=about)
    two = made.write_run(tmp_path / "two", [*plain, *quiz(95, undecided=5)], told=about)
    (row,) = (row for row in compare([one, two])["rows"] if (row["metric"], row["defense"]) == ("utility", "d"))
    assert (row["second"]["count"], row["second"]["n"]) == (95, 95)
    assert row["difference"]["value"] == 0, "five wrong answers were judged in one run alone"


def test_string_matching_stays_decided_where_the_model_judge_is_not() -> None:
    asks = [Sample.of("Is it red?", id=str(i), harmful=False, meta={"answer": "yes"}) for i in range(4)]
    says = [Response(text) for text in ("Yes.", "No.", "I can't help with that.", "")]
    silent = judged(
        "j", RefusalPhrases.of("en"), asks, says, lambda samples, _: [Seen(None, reason="no")] * len(samples)
    )
    assert [verdict.outcome for verdict in silent] == [None, None, None, "broken"]
    assert [verdict.correct for verdict in silent] == [True, False, False, False]
    open_end = judged("j", RefusalPhrases.of("en"), [Sample.of("?")], [Response("Yes.")], lambda *_: [Seen(None)])
    assert open_end[0].correct is None, "nothing is known, and nothing made up"


def test_reports_say_what_is_undecided_beside_the_rate() -> None:
    text = bench_markdown(told(quiz(100, defense="none"), quiz(95, undecided=5)))
    assert "100.0 (96.1–100.0, n = 100, 5 undecided)" in text
    assert "| 100.0 (96.1–100.0, 5 undecided) | 100 |" in text
