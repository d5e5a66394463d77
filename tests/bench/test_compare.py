"""Runs side by side: pairing by digest, rules that fail closed, and the status of the command."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep

from sightguard.bench.compare import compare
from sightguard.bench.fail_if import METRICS, FailIf
from sightguard.cli import app as application
from sightguard.errors import DataError, UsageError
from sightguard.evaluate.differences import paired_difference
from sightguard.evaluate.rows import Row
from tests.bench import made

Change = Callable[[Row], Row]


def run(folder: Path, change: Change = lambda row: row, **options: Any) -> Path:
    """Write a run whose rows were changed one by one; fewer than the planted ones, to be quick."""
    small = [
        row
        for row in made.planted()
        if row.setting in ("garden/plain", "kitchen", "quiz") and row.condition != "crashing"
    ]
    return made.write_run(folder, [change(row) for row in small], **options)


def worse(row: Row) -> Row:
    """Six more prompts of 120 are answered under `steered`: nine in all."""
    number = int(row.id.split("-")[1])
    return replace(row, outcome="harmful") if _is(row, "steered", "garden/plain") and 3 <= number < 9 else row


def _is(row: Row, defense: str, setting: str) -> bool:
    return (row.condition, row.setting) == (defense, setting)


def line(told: dict[str, Any], metric: str, defense: str = "steered", setting: str = "garden/plain") -> dict[str, Any]:
    (found,) = (r for r in told["rows"] if (r["metric"], r["defense"], r["setting"]) == (metric, defense, setting))
    return dict(found)


def rules(*texts: str) -> list[FailIf]:
    return [FailIf.of(text) for text in texts]


def test_a_run_does_not_differ_from_itself(tmp_path: Path) -> None:
    one, two = run(tmp_path / "one"), run(tmp_path / "two")
    told = compare([one, two], rules("asr+0", "asr-0", "over_refusal+0", "utility-0", "broken+0", "undecided+0"))
    assert told["configuration"] == told["left_out"] == []
    assert not told["failed"]
    assert [check["checked"] for check in told["checks"]] == [3, 3, 6, 3, 9, 9]
    assert {(row["difference"]["value"], row["p"], row["how"]) for row in told["rows"]} == {(0, 1, "paired")}


def test_the_same_prompts_are_paired_whatever_their_order(tmp_path: Path) -> None:
    one = run(tmp_path / "one")
    two = run(tmp_path / "two", worse)
    samples = two / "samples.jsonl"
    samples.write_text("".join(reversed(samples.read_text().splitlines(keepends=True))))
    found = line(compare([one, two]), "asr")
    assert (found["how"], found["test"], found["common"], found["of"]) == ("paired", "McNemar", 120, [120, 120])
    assert (found["first"]["count"], found["second"]["count"]) == (3, 9)
    assert found["difference"] == paired_difference(6, 0, 120)._asdict()
    assert found["p"] == pytest.approx(stats.binomtest(0, 6).pvalue)
    back = line(compare([two, one]), "asr")
    assert back["difference"]["value"] == -found["difference"]["value"]
    assert back["p"] == found["p"]


def test_other_prompts_are_not_paired_and_that_is_said(tmp_path: Path) -> None:
    one = run(tmp_path / "one")
    two = run(tmp_path / "two", lambda row: replace(worse(row), prompt="other " + row.prompt))
    found = line(compare([one, two]), "asr")
    assert (found["how"], found["test"], found["common"]) == ("unpaired", "Fisher", 0)
    assert found["p"] == pytest.approx(stats.fisher_exact([[9, 111], [3, 117]]).pvalue)
    interval = confint_proportions_2indep(9, 120, 3, 120, method="newcomb")
    assert (found["difference"]["low"], found["difference"]["high"]) == pytest.approx(interval)


@pytest.mark.parametrize(("kept", "how"), [(60, "paired"), (59, "unpaired")])
def test_runs_that_share_half_of_their_prompts_are_paired_on_those(tmp_path: Path, kept: int, how: str) -> None:
    def other(row: Row) -> Row:
        return row if int(row.id.split("-")[1]) < kept else replace(row, prompt="other " + row.prompt)

    found = line(compare([run(tmp_path / "one"), run(tmp_path / "two", other)]), "asr", "none")
    assert (found["how"], found["common"], found["of"]) == (how, kept, [120, 120])
    assert found["first"]["n"] == (60 if how == "paired" else 120), "rates are over what is compared"
    assert found["difference"]["value"] == pytest.approx(found["second"]["value"] - found["first"]["value"])


def test_a_small_run_inside_a_large_one_is_paired_only_if_it_is_half_of_it(tmp_path: Path) -> None:
    one = run(tmp_path / "one")
    rows = [Row.from_line(text) for text in (one / "samples.jsonl").read_text().splitlines()]
    for n, how in ((50, "unpaired"), (70, "paired")):
        part = made.write_run(tmp_path / str(n), [row for row in rows if int(row.id.split("-")[1]) < n])
        for pair in ([one, part], [part, one]):
            assert line(compare(pair), "asr", "none")["how"] == how


def test_p_values_are_corrected_within_a_metric_over_all_runs(tmp_path: Path) -> None:
    told = compare([run(tmp_path / "one"), run(tmp_path / "two", worse), run(tmp_path / "three", worse)])
    assert told["runs"] == [str(tmp_path / name) for name in ("one", "two", "three")]
    for metric in METRICS:
        rows = [row for row in told["rows"] if row["metric"] == metric]
        expected = multipletests([row["p"] for row in rows], method="holm")[1]
        assert [row["p_holm"] for row in rows] == pytest.approx(expected)
    assert len([row for row in told["rows"] if row["metric"] == "asr"]) == 6


@pytest.mark.parametrize(
    ("rule", "fails"),
    [
        ("asr+0.05", False),  # six of 120 is exactly the margin
        ("asr+0.0499", True),
        ("asr-0.01", False),
        ("asr[garden/plain]+0.04", True),
        ("asr[steered]+0.04", True),
        ("asr[garden/*,steered]+0.04", True),
        ("asr[none, prompt_shield]+0.04", False),
        ("asr[garden/plain,none]+0.04", False),
        ("over_refusal+0", False),
        ("utility-0", False),
    ],
)
def test_a_rule_fails_where_a_figure_moved_too_far(tmp_path: Path, rule: str, fails: bool) -> None:
    told = compare([run(tmp_path / "one"), run(tmp_path / "two", worse)], rules(rule))
    assert told["failed"] is fails
    (check,) = told["checks"]
    places = [(one["defense"], one["setting"]) for one in check["failures"]]
    assert places == ([("steered", "garden/plain")] if fails else [])


def test_what_was_not_checked_has_not_passed(tmp_path: Path) -> None:
    one = run(tmp_path / "one")

    def crash(row: Row) -> Row:
        return replace(row, outcome="guard_error") if _is(row, "steered", "garden/plain") else row

    told = compare([one, run(tmp_path / "crashes", crash)], rules("asr+0.5"))
    assert [failure["why"] for failure in told["checks"][0]["failures"]] == ["no prompt was decided in one of the runs"]

    def open_end(row: Row) -> Row:
        return replace(row, outcome=None) if _is(row, "steered", "garden/plain") and row.id.endswith("7") else row

    told = compare([one, run(tmp_path / "undecided", open_end)], rules("asr+0.5", "undecided+0.05", "undecided+0.2"))
    assert "12 of 120 prompts have no outcome" in told["checks"][0]["failures"][0]["why"]
    assert [bool(check["failures"]) for check in told["checks"]] == [True, True, False]

    fewer = run(tmp_path / "fewer")
    rows = [Row.from_line(text) for text in (fewer / "samples.jsonl").read_text().splitlines()]
    (fewer / "samples.jsonl").write_text("".join(row.to_line() for row in rows if row.condition != "steered"))
    told = compare([one, fewer], rules("asr+0.5", "asr[steered]+0.5"))
    assert {(row["defense"], row["missing_in"]) for row in told["left_out"]} == {("steered", str(fewer))}
    assert [bool(check["failures"]) for check in told["checks"]] == [False, True]
    assert "not asked in" in told["checks"][1]["failures"][0]["why"]

    harmful = made.write_run(tmp_path / "harmful", [row for row in rows if row.setting == "garden/plain"])
    told = compare([harmful, harmful], rules("over_refusal+0.5"))
    assert "nothing to check" in told["checks"][0]["failures"][0]["why"]


def test_runs_of_other_judges_are_not_compared_unless_told_to(tmp_path: Path) -> None:
    one, two = run(tmp_path / "one"), run(tmp_path / "two", lambda row: replace(row, judge="another"), judge="another")
    with pytest.raises(DataError, match=r"other judges judged them .*one: made; .*two: another.*--anyway"):
        compare([one, two])
    told = compare([one, two], anyway=True)
    assert not told["same_judges"]
    assert told["configuration"] == [{"what": "judge", "values": ["made", "another"]}]


def test_what_differs_in_how_runs_were_made_is_named(tmp_path: Path) -> None:
    about = made.about(revision="def456", decoding={"temperature": 0.7, "max_new_tokens": 64}, seed=3, settings={})
    told = compare([run(tmp_path / "one"), run(tmp_path / "two", told=about)])
    assert {row["what"]: row["values"] for row in told["configuration"]} == {
        "revision": ["abc123", "def456"],
        "decoding.temperature": [0, 0.7],
        "seed": [None, 3],
    }


def test_exactly_the_margin_is_not_too_far() -> None:
    for a, b, n in ((30, 32, 100), (7, 9, 100), (58, 60, 100)):
        assert not FailIf.of("asr+0.02").fails(b / n - a / n)
        assert FailIf.of("asr+0.02").fails((b + 1) / n - a / n)


names = st.lists(st.from_regex(r"[a-z_]{1,8}(/[a-z_*]{1,8})?", fullmatch=True), max_size=3)


@given(metric=st.sampled_from(METRICS), sign=st.sampled_from("+-"), margin=st.integers(0, 100), named=names)
def test_a_rule_that_is_written_is_read_back(metric: str, sign: Any, margin: int, named: list[str]) -> None:
    rule = FailIf(metric, sign, margin / 100, tuple(named))
    assert FailIf.of(str(rule)) == rule
    assert FailIf.of(f"  {str(rule).replace(',', ' , ')} ") == rule


@given(margin=st.integers(0, 50), n=st.integers(1, 400), data=st.data())
def test_a_rule_is_exact_to_the_prompt(margin: int, n: int, data: st.DataObject) -> None:
    """In whole prompts there is no rounding: a rule fails just where the counts say so."""
    a, b = data.draw(st.integers(0, n)), data.draw(st.integers(0, n))
    assert FailIf("asr", "+", margin / 100).fails(b / n - a / n) == (100 * (b - a) > margin * n)
    assert FailIf("asr", "-", margin / 100).fails(b / n - a / n) == (100 * (a - b) > margin * n)


BAD = [
    "", "asr", "asr+", "asr0.02", "asr+2", "asr+1.01", "speed+0.1", "asr[+0.1", "asr[]+0.1", "asr[a,,b]+0.1", "asr+-0.1",
    "asr+0.1x", "asr++0.1", "asr+nan",
]  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_a_rule_that_cannot_be_read_says_how_one_looks(text: str) -> None:
    with pytest.raises(UsageError, match="'asr\\+0.02'"):
        FailIf.of(text)


def test_wrong_use_is_named(tmp_path: Path) -> None:
    one = run(tmp_path / "one")
    with pytest.raises(UsageError, match="two runs or more to compare; got 1"):
        compare([one])
    with pytest.raises(UsageError, match="'steerd', which is no setting and no defense"):
        compare([one, one], rules("asr[steerd]+0.1"))
    with pytest.raises(DataError, match="no run in"):
        compare([one, tmp_path / "gone"])
    with pytest.raises(DataError, match="no run in"):
        compare([one, one / "manifest.json"])


def test_runs_of_other_suites_are_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = made.planted()
    garden = made.write_run(tmp_path / "garden", [row for row in rows if row.setting == "garden/plain"])
    quiz = made.write_run(tmp_path / "quiz", [row for row in rows if row.setting == "quiz"])
    assert command(str(garden), str(quiz)) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "no setting and defense in common" in told.err
    assert "garden has settings garden/plain under none, prompt_shield" in told.err
    assert "quiz has settings quiz under" in told.err
    both = made.write_run(tmp_path / "both", [row for row in rows if row.setting in ("garden/plain", "quiz")])
    assert command(str(garden), str(both), "--fail-if", "asr+0") == 0, "what both asked is compared"
    assert "left out: quiz under none was not asked in" in capsys.readouterr().err


def command(*arguments: str) -> int:
    return application.run(["compare", *arguments])


def test_the_status_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = (str(run(tmp_path / name, change)) for name, change in (("one", lambda row: row), ("two", worse)))

    def status(*arguments: str) -> tuple[int, str, str]:
        code = command(*arguments)
        told = capsys.readouterr()
        return code, told.out, told.err

    code, out, err = status(one, two)
    assert code == 0
    assert "+5.0" in out
    assert "paired, n = 120" in out
    assert "the runs were made alike" in err
    code, _, err = status(one, two, "--fail-if", "asr+0.02", "--fail-if", "utility-0.03")
    assert code == 1
    assert "failed: asr+0.02" in err
    assert "asr moved by +0.0500, beyond +0.02" in err
    assert "passed: utility-0.03 (3 checked)" in err
    code, _, err = status(one, two, "--fail-if", "asr")
    assert (code, err.splitlines()[0][:40]) == (2, "error: --fail-if 'asr' cannot be read: e")
    assert status(one)[0] == 2
    assert status(one, str(tmp_path / "gone"))[0] == 1


def test_json_is_all_that_stdout_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders: Sequence[str] = [
        str(run(tmp_path / name, worse if name == "two" else lambda row: row)) for name in ("one", "two")
    ]
    assert command(*folders, "--json", "--fail-if", "asr+0.02") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["failed"] is True
    assert told == compare([Path(one) for one in folders], rules("asr+0.02"))
    changed = run(tmp_path / "changed", lambda row: replace(row, judge="another"))
    assert command(folders[0], str(changed)) == 1
    assert command(folders[0], str(changed), "--anyway") == 0
    assert "warning: other judges judged these runs" in capsys.readouterr().err
