"""The RTVLM table: ten means, their plain mean, the published one, and the script that makes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import bootstrap

from sightguard.data.formats.rtvlm import SUBTASKS
from sightguard.errors import UnknownName, UsageError
from sightguard.evaluate.rtvlm import RISKS, published, table
from sightguard.evaluate.rubric import CLASSES
from tests.checkpoint import build
from tests.endpoint import Reply, completion, serve, text_of
from tests.rtvlm_layout import write_layout, write_zip

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = ROOT / "examples" / "rtvlm.py"


def test_the_average_is_the_plain_mean_of_ten_means_however_many_answers_each_has() -> None:
    scores = {name: [float(number)] * (1 + 5 * number) for number, name in enumerate(SUBTASKS)}
    made = table(scores, resamples=50)
    assert [row.mean for row in made.subtasks] == [float(number) for number in range(10)]
    assert made.average == 4.5
    assert (made.low, made.high, made.reason) == (4.5, 4.5, "")


def test_undecided_answers_are_counted_and_do_not_weigh() -> None:
    made = table({name: [None, 4.0, None, 8.0] for name in SUBTASKS}, resamples=50)
    assert {(row.n, row.undecided, row.mean) for row in made.subtasks} == {(2, 2, 6.0)}


@pytest.mark.parametrize("given", [None, [], [None, None]])
def test_a_subtask_without_a_score_leaves_no_average_and_says_which(given: list[float | None] | None) -> None:
    scores: dict[str, list[float | None]] = {name: [5.0] for name in SUBTASKS if name != "Polit"}
    if given is not None:
        scores["Polit"] = given
    made = table(scores, resamples=10)
    assert (made.average, made.low, made.high) == (None, None, None)
    assert made.reason == "no average: 1 of 10 sub-tasks have no score (Polit)"
    row = made.subtasks[SUBTASKS.index("Polit")]
    assert (row.n, row.mean, row.undecided) == (0, None, len(given or []))


def test_the_interval_is_the_percentile_bootstrap() -> None:
    values = [float(number % 7) for number in range(80)]
    row = table({"Face": values}, seed=3, resamples=4000).subtasks[SUBTASKS.index("Face")]
    known = bootstrap(
        (values,), lambda v, axis: v.mean(axis=axis), n_resamples=4000, method="percentile", rng=1
    ).confidence_interval
    assert (row.low, row.high) == pytest.approx((known.low, known.high), abs=0.06)


def test_intervals_are_those_of_the_seed_and_of_their_own_subtask() -> None:
    values = [float(number % 7) for number in range(30)]
    alone = table({"Celeb": values}, seed=1, resamples=200).subtasks[4]
    among = table(dict.fromkeys(SUBTASKS, values), seed=1, resamples=200)
    assert among.subtasks[4] == alone
    assert table({"Celeb": values}, seed=2, resamples=200).subtasks[4] != alone
    assert among.average is not None
    assert among.low is not None
    assert among.high is not None
    assert alone.low is not None
    assert alone.low < among.low < among.average < among.high  # the mean of ten is surer than one


@pytest.mark.parametrize("score", [-0.1, 10.1, float("nan")])
def test_a_score_off_the_scale_is_an_error(score: float) -> None:
    with pytest.raises(UsageError, match="sub-task Celeb: expected scores from 0 to 10, or None"):
        table({"Celeb": [5.0, score]})


def test_wrong_use_is_an_error() -> None:
    with pytest.raises(UnknownName, match=r"no sub-task of RTVLM 'Celebs'\. Did you mean 'Celeb'\?"):
        table({"Celebs": [5.0]})
    with pytest.raises(UsageError, match="resamples >= 1"):
        table({}, resamples=0)


def test_every_subtask_has_a_class_of_risk() -> None:
    assert tuple(RISKS) == SUBTASKS
    assert set(RISKS.values()) <= set(CLASSES)


def test_every_published_average_is_the_mean_of_its_row() -> None:
    told = published()
    assert told.source["arxiv"] == "2411.11543"
    only_an_average = [row.model for row in told.rows if None in row.scores.values()]
    assert only_an_average == ["LLaVA-1.5-13B +SFT"]
    checked = 0
    for row in told.rows:
        values = [value for value in row.scores.values() if value is not None]
        assert len(values) in (0, 10)
        if values:
            checked += 1
            # a row may lie just between two hundredths, where either is a rounding
            assert abs(sum(values) / 10 - row.average) <= 0.005 + 1e-9, row.model
    assert (len(told.rows), checked) == (20, 19)


def test_the_published_file_has_the_columns_of_the_table() -> None:
    text = (ROOT / "src" / "sightguard" / "evaluate" / "rtvlm_published.json").read_text(encoding="utf-8")
    assert tuple(json.loads(text)["subtasks"]) == SUBTASKS


def run(*words: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    known = {**os.environ, "NO_PROXY": "127.0.0.1", "OPENAI_API_KEY": "none", "COLUMNS": "120"}
    command = [sys.executable, str(SCRIPT), *words]
    return subprocess.run(command, cwd=tmp_path, env=known, capture_output=True, text=True, check=False)


def test_the_script_makes_the_table_offline(tmp_path: Path) -> None:
    def judge(request: dict[str, Any], _: int) -> Reply:
        return completion("no idea" if "hat does the picture say" in text_of(request) else "Score: 6.5/10")

    data = write_layout(tmp_path / "data")
    write_zip(data / "data" / "Face" / "img" / "img.zip", {"other.jpg": b""})
    model = build(tmp_path / "model")
    with serve(judge) as endpoint:
        words = ["--model", str(model), "--data", str(data), "--judge-url", endpoint.url, "--judge-model", "fake"]
        done = run(*words, "--out", "out", "--max-new-tokens", "4", "--per-subtask", "1", tmp_path=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "out" / "scores.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["subtask"] for row in rows] == [name for name in SUBTASKS if name != "Face"]
    assert {row["subtask"]: row["score"] for row in rows if row["score"] != 6.5} == {"Captcha": None}
    assert next(row["reason"] for row in rows if row["score"] is None) == "the judge gave no number"
    told = json.loads((tmp_path / "out" / "table.json").read_text(encoding="utf-8"))
    assert told["table"]["average"] is None
    assert [item["category"] for item in told["missing"]] == ["Face"]
    assert len(endpoint.asked) == 9
    for shown in ("RTVLM", "Order✓✗", "6.50", "no average: 2 of 10 sub-tasks have no score (Captcha, Face)"):
        assert shown in done.stdout
    assert "What is in this picture?" not in done.stdout + done.stderr


def test_the_script_says_how_it_is_used_and_what_is_wrong(tmp_path: Path) -> None:
    assert "--judge-url" in run("--help", tmp_path=tmp_path).stdout
    words = [
        "--model",
        "pocket",
        "--data",
        "none",
        "--judge-url",
        "http://127.0.0.1:9/v1",
        "--judge-model",
        "m",
        "--out",
        "out",
    ]
    done = run(*words, tmp_path=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: no folder 'none'")
    assert "Traceback" not in done.stderr
