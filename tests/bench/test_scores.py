"""Scores of judges: from the wire into rows, results and reports; what has none stands beside them."""

from __future__ import annotations

import copy
import json
import statistics
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from sightguard.bench.judges.options import Options as JudgeOptions
from sightguard.bench.official import mme as counted
from sightguard.bench.options import Options
from sightguard.bench.remote import bench_remote
from sightguard.bench.report import write_report
from sightguard.bench.results import results
from sightguard.bench.scores import mean
from sightguard.bench.seen import Seen
from sightguard.bench.setting import Setting
from sightguard.bench.suite import Suite, read_suite
from sightguard.cli import app
from sightguard.data.benchmarks import benchmark
from sightguard.data.formats import mme
from sightguard.data.formats.rtvlm import SUBTASKS
from sightguard.errors import DataError
from sightguard.evaluate.bench_shape import check_bench
from sightguard.evaluate.folder import RunFolder
from sightguard.evaluate.rows import Row, number
from sightguard.evaluate.rtvlm import table
from sightguard.evaluate.scale import Scale, scales
from sightguard.types import Response, Sample, Verdict
from tests.bench import made
from tests.data.benchmarks import layouts
from tests.endpoint import Reply, completion, failure, serve, text_of
from tests.rtvlm_layout import write_layout

SCALES = {"made": {"lowest": 0.0, "highest": 10.0, "says": "how good it is", "harmless": True}}
ONE = (Setting(name="s", kind="harmful"),)


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def suite_of(folder: Path, *columns: dict[str, Any]) -> Suite:
    (folder / "mine.yaml").write_text(
        json.dumps({"schema": 1, "name": "mine", "title": "t", "about": "a", "settings": list(columns)})
    )
    return read_suite(folder / "mine.yaml")


def options(url: str, *judges: str, **more: Any) -> Options:
    named = tuple(judge.replace("URL", url) for judge in judges)
    return Options(defenses=("none",), judges=named, judging=JudgeOptions(retries=0), **more)


def score_for(text: str) -> int:
    return 1 + sum(map(ord, text)) % 10


def answering(request: dict[str, Any], _: int) -> Reply:
    """A model that answers by the question, and a judge that scores by the question that it is shown."""
    if request["model"] != "judge":
        return completion(f"Well: {score_for(text_of(request))}.")
    shown = text_of(request)
    if "Well: 4." in shown:
        return failure(503)
    return completion(shown.split("Well: ")[-1].split(".")[0] if "Well: " in shown else "hello")


def test_a_rubrics_score_goes_from_the_wire_into_rows_results_and_reports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"id": f"q{i}", "prompt": f"Question {i}?", "harmful": (True, None)[i % 2], "category": "ab"[i % 4 > 1]}
        for i in range(24)
    ]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    suite_of(tmp_path, {"name": "asked", "kinds": ["harmful"], "benchmark": str(tmp_path / "asked.jsonl")})
    given: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        given[str(row["category"])].append(score_for(str(row["prompt"])))
    every = [score for some in given.values() for score in some if score != 4]
    (tmp_path / "judge.yaml").write_text("retries: 0\n")
    with serve(answering) as endpoint:
        command = ["bench", "m", "--remote", endpoint.url, "--suite", str(tmp_path / "mine.yaml"), "--defense", "none"]
        command += ["--judge", f"rubric@{endpoint.url}#judge", "--judge-options", str(tmp_path / "judge.yaml")]
        assert app.run([*command, "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr()
    told = json.loads((tmp_path / "out" / "results.json").read_text())
    scale = {"lowest": 0.0, "highest": 10.0, "harmless": True}
    assert told["scores"]["judges"] == {
        "rubric:judge": {**scale, "says": "how safely and usefully it answers; higher is better"}
    }
    part = told["scores"]["settings"]["asked"]["defenses"]["none"]["rubric:judge"]
    assert part["mean"] == pytest.approx(statistics.fmean(every))
    assert (part["n"], part["undecided"], part["prompts"]) == (len(every), 24 - len(every), 24)
    assert part["undecided"] > 0
    for kind, some in given.items():
        found = told["scores"]["settings"]["asked"]["by_category"][kind]["none"]["rubric:judge"]
        assert found["mean"] == pytest.approx(statistics.fmean(score for score in some if score != 4))
    kept = {row.id: row.score for row in RunFolder(tmp_path / "out").rows()}
    assert kept == {
        f"asked/{row['id']}": None if (s := score_for(str(row["prompt"]))) == 4 else float(s) for row in rows
    }
    for text in (shown.out, *((tmp_path / "out" / name).read_text() for name in ("report.html", "report.md"))):
        assert f"{part['mean']:.2f}" in text
        assert f"{part['low']:.2f}–{part['high']:.2f}" in text
        assert "0–10" in text
    sentence = (
        "asked: 12 of 24 prompts are labelled neither harmful nor harmless, and count neither for attack success nor for over-refusal; "
        "they count for the mean score alone."
    )
    for text in (shown.err, *((tmp_path / "out" / name).read_text() for name in ("report.html", "report.md"))):
        assert sentence in text
    assert told["settings"]["asked"]["unlabelled"] == {"n": 12, "in_utility": 0}


def test_a_panel_keeps_the_scores_of_judges_that_do_not_decide(tmp_path: Path) -> None:
    rows = [{"id": f"q{i}", "prompt": f"Question {i}?", "harmful": True} for i in range(12)]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    suite = suite_of(tmp_path, {"name": "asked", "kinds": ["harmful"], "benchmark": str(tmp_path / "asked.jsonl")})
    with serve(answering) as endpoint:
        alone = bench_remote(endpoint.url, "m", suite, tmp_path / "one", options(endpoint.url, "rubric@URL#judge"))
        both = bench_remote(
            endpoint.url, "m", suite, tmp_path / "two", options(endpoint.url, "refusal_phrases", "rubric@URL#judge")
        )
    assert both["scores"] == alone["scores"]
    assert both["settings"]["asked"]["defenses"]["none"]["attacked"]["outcomes"]["undecided"] == 0
    assert alone["scores"]["settings"]["asked"]["defenses"]["none"]["rubric:judge"]["undecided"] > 0
    assert [row.score for row in RunFolder(tmp_path / "two").rows()] == [None] * 12


def test_strongreject_scores_what_may_harm_and_a_guards_refusal_is_of_no_use(tmp_path: Path) -> None:
    rows = [{"id": f"q{i}", "prompt": f"Question {i}?", "harmful": i < 4} for i in range(8)]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    suite = suite_of(
        tmp_path,
        {"name": "harm", "kinds": ["harmful"], "benchmark": str(tmp_path / "asked.jsonl")},
        {"name": "safe", "kinds": ["over-refusal"], "benchmark": str(tmp_path / "asked.jsonl")},
    )

    def answer(request: dict[str, Any], _: int) -> Reply:
        if request["model"] == "judge":
            return completion('{"refused": 0, "convincing": 5, "specific": 4}')
        if "Question 0" in text_of(request):
            return completion(None, refusal="No.")  # a guard of the endpoint's own
        return completion("" if "Question 1" in text_of(request) else "It is four.")

    with serve(answer) as endpoint:
        told = bench_remote(endpoint.url, "m", suite, tmp_path / "out", options(endpoint.url, "strongreject@URL#judge"))
    part = told["scores"]["settings"]["harm"]["defenses"]["none"]["strongreject:judge"]
    assert (part["mean"], part["n"], part["prompts"]) == ((0 + 0 + 0.875 + 0.875) / 4, 4, 4)
    assert told["scores"]["settings"]["safe"]["defenses"]["none"]["strongreject:judge"] is None
    judge = told["scores"]["judges"]["strongreject:judge"]
    assert (judge["lowest"], judge["highest"], judge["harmless"]) == (0.0, 1.0, False)


@pytest.mark.parametrize("n", [2, 9, 200])
def test_the_interval_is_that_of_a_percentile_bootstrap(n: int) -> None:
    values = [float(score) for score in np.random.default_rng(n).integers(1, 11, n)]
    found = mean(values)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    assert found["mean"] == pytest.approx(np.mean(values))
    close = 6 * np.std(values) / np.sqrt(n * 100)
    assert (found["low"], found["high"]) == (
        pytest.approx(theirs.low, abs=close),
        pytest.approx(theirs.high, abs=close),
    )
    assert mean(values[::-1]) == found, "in any order"
    assert mean([3.0]) == {"mean": 3.0, "low": None, "high": None}, "a single answer says nothing of others"
    assert mean([])["mean"] is None


def test_what_has_no_score_is_told_by_its_reason_and_too_much_of_it_is_inconclusive() -> None:
    def row(i: int, score: float | None, outcome: Any, **more: Any) -> Row:
        return replace(made.row("none", "s", i, outcome, harmful=True, **more), score=score)

    rows = [row(i, 2.0 * (i % 3), "safe") for i in range(6)]
    rows += [row(6, None, None), row(7, None, "refused", refused_by="a guard"), row(8, None, "guard_error")]
    told = results(rows, ONE, ("none",), model="tiny", scales=SCALES)
    part = told["scores"]["settings"]["s"]["defenses"]["none"]["made"]
    counts = {"prompts": 9, "n": 6, "undecided": 1, "unscored": 1, "guard_error": 1}
    assert {name: part[name] for name in counts} == counts
    assert part["mean"] == 2.0
    assert (
        "3 of 9 answers have no score (1 undecided, 1 that the judge was not asked about, 1 guard error)"
        in part["inconclusive"]
    )
    silent = [replace(one, score=None, outcome=None) for one in rows[:6]]
    (part,) = results(silent, ONE, ("none",), model="tiny", scales=SCALES)["scores"]["settings"]["s"]["defenses"][
        "none"
    ].values()
    assert (part["mean"], part["n"], part["undecided"]) == (None, 0, 6), "a judge that was down all the time is there"


def test_a_run_without_scores_has_none_and_older_files_are_read(tmp_path: Path) -> None:
    folder = made.write_run(tmp_path / "run", made.planted())
    lines = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    assert all(line.pop("score") is None and line.pop("scores") == {} for line in lines)
    (folder / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    told = write_report(folder)
    assert told["scores"] is None
    assert told["official"] == {}
    assert "Mean score" not in (folder / "report.md").read_text()
    older = {name: value for name, value in told.items() if name not in ("scores", "official")}
    for part in (older := copy.deepcopy(older))["settings"].values():
        del part["unlabelled"]
    check_bench(older)
    newer = made.write_run(tmp_path / "newer", [replace(row, score=1.0) for row in made.planted()])
    assert app.run(["compare", str(folder), str(newer)]) == 0


def test_a_row_keeps_its_scores_and_whatever_a_judge_of_ones_own_calls_a_score() -> None:
    vote = Verdict("a", "safe", score=7.5)
    verdict = Verdict("panel(b, a)", "refused", votes={"b": Verdict("b", "refused"), "a": vote})
    row = Row.of("none", "s", Sample.of("?"), Response("x"), verdict)
    assert (row.score, row.scores) == (None, {"a": 7.5})
    assert Row.from_line(row.to_line()) == row
    assert Row.of("none", "s", Sample.of("?"), Response("x", error="Oops"), vote).score is None
    assert [number(one) for one in (np.float32(0.5), 1, True, None, "high", float("nan"), float("inf"))] == [
        0.5,
        1.0,
        1.0,
        *[None] * 4,
    ]


def test_scales_are_those_of_the_judges_that_name_one() -> None:
    class Own:
        name = "own"
        scale = Scale(1, 5, "stars")

    class Both:
        judges = (Own(), lambda sample, response: None)

    assert scales(Own()) == scales(Both()) == {"own": Scale(1, 5, "stars")}
    assert scales(len) == {}


def test_rtvlm_has_the_average_of_its_ten_sub_tasks(tmp_path: Path) -> None:
    write_layout(tmp_path / "data" / "rtvlm")
    suite = suite_of(tmp_path, {"name": "red", "kinds": ["harmful"], "benchmark": "rtvlm"})

    def answer(request: dict[str, Any], number: int) -> Reply:
        return completion(str(number % 9 + 1) if request["model"] == "judge" else f"Answer {number}.")

    with serve(answer) as endpoint:
        given = options(endpoint.url, "rubric@URL#judge", data=tmp_path / "data")
        told = bench_remote(endpoint.url, "m", suite, tmp_path / "out", given)
    scores: dict[str, list[float | None]] = defaultdict(list)
    rows = RunFolder(tmp_path / "out").rows()
    for row in rows:
        scores[row.category or ""].append(row.score)
    missing = [name for name in SUBTASKS if name not in scores]
    found = told["official"]["red"]
    assert (found["benchmark"], found["judge"]) == ("rtvlm", "rubric:judge")
    assert found["defenses"]["none"]["average"] == table(scores).average
    assert all(name in (found["defenses"]["none"]["reason"] or "") for name in missing)
    open_rows = len({row.prompt for row in rows if row.harmful is None})
    assert told["settings"]["red"]["unlabelled"] == {"n": open_rows, "in_utility": 0}
    assert open_rows > 0
    assert told["settings"]["red"]["n"] == told["settings"]["red"]["n_harmful"] + open_rows


def test_the_average_is_over_sub_tasks_and_not_over_answers() -> None:
    manifest = {"about": {"suite": {"settings": [{"name": "s", "benchmark": "rtvlm", "attacks": []}]}}}
    rows = [
        replace(made.row("none", "s", 100 * place + i, "safe", harmful=True), category=name, score=float(place))
        for place, name in enumerate(SUBTASKS)
        for i in range(1 + place)
    ]
    told = results(rows, ONE, ("none",), model="tiny", scales=SCALES, manifest=manifest)
    assert told["official"]["s"]["defenses"]["none"]["average"] == 4.5
    assert results(rows[::-1], ONE, ("none",), model="tiny", scales=SCALES, manifest=manifest) == told
    assert told["official"]["s"]["defenses"]["none"]["inconclusive"] is None
    guarded = [replace(row, score=None, outcome="refused") if i % 2 else row for i, row in enumerate(rows)]
    found = results(guarded, ONE, ("none",), model="tiny", scales=SCALES, manifest=manifest)
    assert "27 that the judge was not asked about" in found["official"]["s"]["defenses"]["none"]["inconclusive"]
    attacked = copy.deepcopy(manifest)
    attacked["about"]["suite"]["settings"][0]["attacks"] = ["blank"]
    assert results(rows, ONE, ("none",), model="tiny", scales=SCALES, manifest=attacked)["official"] == {}
    other = {"made": {**SCALES["made"], "highest": 1.0}}
    assert results(rows, ONE, ("none",), model="tiny", scales=other, manifest=manifest)["official"] == {}


def test_mme_is_counted_by_question_and_picture_as_its_reader_counts(tmp_path: Path) -> None:
    place = layouts.write_mme(tmp_path / "data" / "mme")
    files = sorted(path for path in place.rglob("*") if path.suffix in (".png", ".jpg"))
    for number_, path in enumerate(files):
        path.write_bytes(layouts.picture(number_))
    suite = suite_of(tmp_path, {"name": "m", "kinds": ["utility"], "benchmark": "mme"})

    def answer(request: dict[str, Any], number: int) -> Reply:
        content = request["messages"][-1]["content"]
        picture = "" if isinstance(content, str) else content[0]["image_url"]["url"]
        knows = sum(map(ord, picture)) % 3 > 0
        return completion("No" if knows and "Is there no" in text_of(request) else "Yes")

    with serve(answer) as endpoint:
        told = bench_remote(
            endpoint.url, "m", suite, tmp_path / "out", Options(defenses=("none",), data=tmp_path / "data")
        )
        few = bench_remote(
            endpoint.url, "m", suite, tmp_path / "few", Options(defenses=("none",), data=tmp_path / "data", limit=20)
        )
    right = {row.id: row.correct is True for row in RunFolder(tmp_path / "out").rows()}
    wanted = mme.score(benchmark("mme", place).samples, right)
    found = told["official"]["m"]["defenses"]["none"]
    assert len(wanted) == 14
    assert found["tasks"] == pytest.approx(wanted)
    assert found["total"] == pytest.approx(sum(wanted.values()))
    assert found["total"] == pytest.approx(found["perception"] + found["cognition"])
    assert 0 < found["total"] < 2800
    assert (found["pictures"], found["left_out"]) == (28, 0)
    assert f"{found['total']:.1f}" in (tmp_path / "out" / "report.md").read_text()
    drawn = few["official"]["m"]["defenses"]["none"]
    assert 2 * drawn["pictures"] + drawn["left_out"] == 20, "half a picture is none"
    assert drawn["total"] is None
    assert drawn["reason"].startswith("no sum: no picture with both questions in")


def test_mme_says_what_was_not_decided() -> None:
    rows = [
        made.row("none", "m", i, None if i == 0 else "complied", harmful=False, correct=None if i == 0 else True)
        for i in range(2)
    ]
    seen = {row.prompt: Seen.of(replace(row, id=f"mme/count/a/{i}", category="count")) for i, row in enumerate(rows)}
    found = counted(seen)
    assert (found["tasks"], found["undecided"]) == ({"count": 50.0}, 1)
    assert found["inconclusive"] is not None


def test_scores_that_do_not_add_up_are_named() -> None:
    rows = [replace(made.row("none", "s", i, "safe", harmful=True), score=float(i)) for i in range(4)]
    told = results(rows, ONE, ("none",), model="tiny", scales=SCALES)
    for name, value in (("n", 3), ("mean", 99.0), ("low", 9.0), ("undecided", -1)):
        broken = copy.deepcopy(told)
        broken["scores"]["settings"]["s"]["defenses"]["none"]["made"][name] = value
        with pytest.raises(DataError, match=r"scores.settings.s.defenses.none.made"):
            check_bench(broken)
    broken = copy.deepcopy(told)
    broken["settings"]["s"]["unlabelled"] = {"n": 3}
    with pytest.raises(DataError, match="unlabelled"):
        check_bench(broken)
