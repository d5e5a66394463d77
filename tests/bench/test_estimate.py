"""An estimate says what is known, from where, and what is not: against runs whose calls, gradients, tokens and seconds are counted."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from scripts import speed as carried
from sightguard.artifacts import read_json
from sightguard.attacks import pgd
from sightguard.bench import gradients, pixels
from sightguard.bench.calls import calls
from sightguard.bench.dry import Known, dry_run
from sightguard.bench.judges.options import Options as JudgeOptions
from sightguard.bench.options import Options
from sightguard.bench.questions import questions
from sightguard.bench.run import bench
from sightguard.bench.size import PICTURE_TOKENS, tokens
from sightguard.bench.speed import MEASURED
from sightguard.bench.suite import read_suite
from sightguard.cli import app
from sightguard.errors import DataError, UnknownName, UsageError
from sightguard.evaluate.asking.purse import Prices
from sightguard.evaluate.rubric import Rubric
from sightguard.evaluate.strongreject import StrongReject
from sightguard.guards.ecso import Ecso
from sightguard.report.bench_estimate import duration, estimate_lines, not_in_it
from sightguard.testing import FakeGenerate
from sightguard.types import Image, Response, Sample
from tests import tiny
from tests.bench import made

PICTURE = Image(data=b"made up")
QUICK = read_suite("quick")
N, SETTINGS = 4, len(QUICK.settings)


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Four prompts of 40 letters, so of 10 tokens."""
    (tmp_path / "asked.jsonl").write_text(
        "".join(json.dumps({"id": f"q{i}", "prompt": f"{i}".ljust(40, "?"), "harmful": False}) + "\n" for i in range(4))
    )
    columns = [{"name": "asked", "kinds": ["over-refusal"], "benchmark": str(tmp_path / "asked.jsonl")}]
    path = tmp_path / "own.yaml"
    path.write_text(json.dumps({"schema": 1, "name": "own", "title": "t", "about": "a", "settings": columns}))
    return path


@pytest.mark.parametrize(("verdict", "pictured", "count"), [("No.", True, 2), ("Yes.", True, 4), ("Yes.", False, 1)])
def test_calls_of_a_defense_are_those_that_it_makes(verdict: str, pictured: bool, count: int) -> None:
    sample = Sample.of("a question", *([PICTURE] if pictured else []))
    asked = FakeGenerate(lambda _: verdict)
    Ecso()(asked)([sample])
    low, high = calls("ecso", pictured=pictured)
    assert low <= len(asked.samples) == count <= high
    assert count in (low, high)
    always = FakeGenerate(lambda _: verdict)
    Ecso(always_caption=True)(always)([sample])
    assert calls("ecso_always_caption", pictured=pictured) == (len(always.samples),) * 2


def test_gradient_passes_and_their_time_are_those_that_attacks_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns: list[dict[str, Any]] = [
        {"name": name, "kinds": ["harmful"], "own": "harm_in_picture", "attacks": [attack]}
        for name, attack in (("static", "pgd:16"), ("aimed", "pgd_adaptive:16"), ("early", "icet:0"))
    ]
    path = tmp_path / "own.yaml"
    path.write_text(json.dumps({"schema": 1, "name": "own", "title": "t", "about": "a", "settings": columns}))
    for module in (pixels, gradients):
        monkeypatch.setattr(module, "STEPS", 2)
    taken: list[int] = []
    spent: list[float] = []
    look = pgd._Attack._look

    def counted(attack: Any, moved: Sequence[Any], *, slopes: bool) -> Any:
        began = time.perf_counter()
        found = look(attack, moved, slopes=slopes)
        spent.append(time.perf_counter() - began)
        taken.append(len(moved) if slopes else 0)
        return found

    monkeypatch.setattr(pgd._Attack, "_look", counted)
    given = Options(defenses=("self_reminder", "safevlm"), limit=3, batch=4)
    suite = read_suite(str(path))
    estimate = dry_run("pocket", suite, given)
    told = estimate["gradient_passes"]
    # samples x steps x surfaces: one of the plain model; one each of none and the reminder, one or two of SafeVLM
    assert told == {"static": {"at_least": 6, "at_most": 6}, "aimed": {"at_least": 18, "at_most": 24}}
    assert taken == []
    began = time.perf_counter()
    bench("pocket", suite, tmp_path / "out", given)
    wall = time.perf_counter() - began
    assert sum(taken) in (6 + 18, 6 + 24)
    # three settings under three defenses, and noise of one size before each
    written = [len((tmp_path / "out" / name / "samples.jsonl").read_text().splitlines()) for name in ("", "noise")]
    assert written == [3 * 3 * 3, 3 * 3]
    assert estimate["calls"] == {"at_least": sum(written), "at_most": sum(written)}
    assert estimate["noise_calls"] == {"at_least": written[1], "at_most": written[1]}
    assert ("of them, to noise beside attacks", "9") in estimate_lines(estimate)
    # a run like that one is said to take what it took
    seconds = dry_run("pocket", suite, given, Known(like=tmp_path / "out"))["seconds"]["gradients"]
    assert 24 * sum(spent) / sum(taken) - 0.05 <= seconds["at_least"] < seconds["at_most"] < 30 * wall / sum(taken)


def test_the_time_of_gradients_is_unknown_where_no_attack_was_measured(tmp_path: Path) -> None:
    pixels_suite, given = read_suite("pixels"), Options(defenses=("none",), limit=2)
    for known in (Known(seconds=1.0), Known(like=timed(tmp_path / "run"))):
        told = dry_run("pocket", pixels_suite, given, known)
        assert told["seconds"]["gradients"] == {"at_least": None, "at_most": None}
        assert dict(estimate_lines(told))["time of the gradients, about"] == "unknown"
        assert any("The time of the gradients is not known" in line for line in not_in_it(told))
    assert dry_run("pocket", QUICK, given, Known(seconds=1.0))["seconds"]["gradients"] is None


def test_surfaces_are_as_many_as_attacks_find() -> None:
    from sightguard.attacks.adaptive import surfaces_of

    vlm = tiny.vlm()
    assert len(surfaces_of(vlm, tiny.guard(vlm, reference="caption"))) == gradients.SURFACES["vlm_guard_caption"][1]
    assert len(surfaces_of(vlm, tiny.guard(vlm))) == len(surfaces_of(vlm, Ecso())) == 1
    assert set(gradients.SURFACES) == {"vlm_guard_caption", "safevlm", "safevlm_stage1"}


@pytest.mark.parametrize("kind", ["rubric", "strongreject", "guard"])
def test_questions_to_judges_are_as_long_as_the_judges_make_them(kind: str) -> None:
    samples = [Sample.of("w" * 400, PICTURE), Sample.of("w" * 800)]
    answer = Response("w" * 400)  # 100 tokens
    made_by: dict[str, Callable[[Sample, Response], Sample]] = {
        "rubric": Rubric(FakeGenerate({})).question,
        "strongreject": StrongReject(FakeGenerate({})).question,
        "guard": lambda sample, response: Sample.of(sample.text + response.text, *sample.images),
    }
    expected = 3 * sum(tokens(made_by[kind](sample, answer)) for sample in samples)
    judging = Options().judging
    found = questions([f"{kind}@http://127.0.0.1:9/v1#m", "refusal_phrases"], judging, samples, 3, 100)
    assert found.judges == 1
    assert found.read == pytest.approx(expected, rel=0.03)
    assert found.written_at_most == 3 * 2 * 512
    with pytest.raises(UnknownName, match="no judge 'magic'"):
        questions(["magic"], judging, samples, 1, 100)


def test_money_is_tokens_times_prices(suite: Path) -> None:
    judges = Options(
        defenses=("none", "self_reminder"),
        judges=("rubric@http://127.0.0.1:9/v1#m",),
        max_new_tokens=25,
        judging=JudgeOptions(prices=Prices(2, 10), max_new_tokens=7, requests_per_minute=2),
    )
    told = dry_run("m", read_suite(str(suite)), judges, Known(remote="http://127.0.0.1:9/v1", prices=Prices(1e6, 2e6)))
    assert (told["tokens_read"], told["tokens_written_at_most"]) == (2 * 4 * 10, 2 * 4 * 25)
    assert told["money"] == 80 * 1 + 200 * 2
    asked = told["judges"]
    assert (asked["calls"], asked["tokens_written_at_most"], asked["seconds_at_least"]) == (8, 56, 240.0)
    assert asked["money"] == round((2 * asked["tokens_read"] + 10 * 56) / 1e6, 4) > 0
    unpriced = dry_run(
        "m", read_suite(str(suite)), Options(judges=judges.judges), Known(remote="http://127.0.0.1:9/v1")
    )
    assert (unpriced["money"], unpriced["judges"]["money"]) == (None, None)
    with pytest.raises(UsageError, match="a price .* is an endpoint's"):
        dry_run("m", read_suite(str(suite)), judges, Known(prices=Prices(1, 1)))


def timed(folder: Path, model: str = "pocket", **about: Any) -> Path:
    rows = [
        made.row("none", "text_only", 0, "safe", seconds=0.25),
        made.row("none", "blank_image", 1, "safe", seconds=0.5),
        made.row("none", "blank_image", 2, "safe", seconds=1.0),
        made.row("none", "blank_image", 3, "guard_error", seconds=99.0),
        made.row("safevlm", "text_only", 0, "safe", seconds=2.0),
    ]
    return made.write_run(folder, rows, told={"model": model, **about})


def test_a_run_before_it_tells_the_time(tmp_path: Path) -> None:
    run = timed(tmp_path / "run")
    given = Options(defenses=("none", "safevlm", "self_reminder"), limit=N)
    told = dry_run("pocket", QUICK, given, Known(like=run))["seconds"]
    mean = (0.25 + 0.5 + 1.0) / 3
    expected = N * (0.25 + 0.75 + (SETTINGS - 2) * mean) + N * SETTINGS * 2.0
    assert told["at_least"] == told["at_most"] == pytest.approx(expected, abs=0.05)
    assert told["unknown"] == ["self_reminder"]
    assert told["source"] == f"measured on 4 answers in {run}"
    assert dry_run("pocket", QUICK, given, Known(out=run))["seconds"] == told


def test_answers_of_an_endpoint_come_several_at_a_time(suite: Path, tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/v1"
    run = timed(tmp_path / "run", f"m at {url}", concurrency=4)
    told = dry_run("m", read_suite(str(suite)), Options(defenses=("safevlm",)), Known(remote=url, like=run))["seconds"]
    assert told["at_least"] == pytest.approx(4 * (1.75 / 3 + 2.0) / 4, abs=0.05)


def test_what_cannot_tell_the_time_is_refused_or_left(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is of 'other', and says nothing of the time of 'pocket'"):
        dry_run("pocket", QUICK, Options(limit=N), Known(like=timed(tmp_path / "other", "other")))
    empty = made.write_run(tmp_path / "empty", [], told={"model": "pocket"})
    with pytest.raises(DataError, match="no answer that was timed"):
        dry_run("pocket", QUICK, Options(limit=N), Known(like=empty))
    with pytest.raises(DataError, match="no run in"):
        dry_run("pocket", QUICK, Options(limit=N), Known(like=tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="not from both"):
        dry_run("pocket", QUICK, Options(limit=N), Known(like=empty, seconds=1.0))
    with pytest.raises(UsageError, match="above 0"):
        dry_run("pocket", QUICK, Options(limit=N), Known(seconds=0.0))
    # a folder that holds another run is an error of the run itself; it says nothing of the time
    other = dry_run("pocket", QUICK, Options(limit=N), Known(out=tmp_path / "other"))
    assert "results/runner-cpu.json" in other["seconds"]["source"]


def test_seconds_that_are_given_count_every_answer_of_the_model() -> None:
    told = dry_run("pocket", QUICK, Options(defenses=("none", "ecso"), limit=N), Known(seconds=2.0))
    assert told["seconds"]["at_least"] == 2.0 * told["calls"]["at_least"]
    assert told["seconds"]["at_most"] == 2.0 * told["calls"]["at_most"] > told["seconds"]["at_least"]


def test_the_embedded_models_figure_is_the_one_that_was_measured() -> None:
    assert read_json(MEASURED) == carried.figures()
    told = dry_run("pocket-1", QUICK, Options(defenses=("none", "cmrm"), limit=N))["seconds"]
    assert told["at_least"] == round(N * SETTINGS / read_json(MEASURED)["prompts_per_second"], 1)
    assert told["unknown"] == ["cmrm"]


def test_an_unknown_time_is_said_to_be_unknown_and_nothing_heavy_is_loaded(suite: Path) -> None:
    code = (
        "import sys\nfrom sightguard.cli import run\nstatus = run(sys.argv[1:])\n"
        "heavy = {'torch', 'transformers', 'openai'} & set(sys.modules)\nassert not heavy, heavy\nsys.exit(status)\n"
    )
    command = ["bench", "m", "--remote", "http://127.0.0.1:9/v1", "--suite", str(suite), "--dry-run"]
    judge = ["--judge", "rubric@http://127.0.0.1:9/v1#j", "--judge-price", "100,100", "--judge-max-spend", "0.001"]
    done = subprocess.run(
        [sys.executable, "-c", code, *command, *judge], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "unknown: give its prices (--price)" in done.stdout
    assert (
        "The time is not known: ask a few prompts first (--limit 8 --out FOLDER), then --dry-run --like" in done.stderr
    )
    assert "Judging would cost more than may be spent (0.001)" in done.stderr


def test_an_attack_on_pixels_is_said_to_cost_gradients(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["bench", "pocket", "--suite", "pixels", "--limit", "5", "--defense", "none", "--dry-run"]) == 0
    told = capsys.readouterr()
    assert "gradient passes of attacks" in told.out
    assert f"{6 * 5 * pixels.STEPS:,}" in told.out  # six settings under attack, one surface
    passes = 6 * 5 * pixels.STEPS
    assert f"time of the gradients, about{duration(passes * read_json(MEASURED)['gradient_seconds'])}" in "".join(
        told.out.translate({ord(line): None for line in "│┃|"}).split("  ")
    )
    assert "Not in the time: loading, fitting, judges that ask a model." in told.err


@pytest.mark.parametrize("option", [["--price", "1,2"], ["--seconds-per-answer", "1"], ["--like", "somewhere"]])
def test_options_of_an_estimate_need_one(option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["bench", "pocket", "--out", str(tmp_path / "out"), *option]) == 2
    assert "are of an estimate: add --dry-run" in capsys.readouterr().err


def test_a_picture_counts_as_many_tokens_as_it_is_shown_with() -> None:
    assert tokens(Sample.of("four" * 3, PICTURE)) == 3 + PICTURE_TOKENS
    assert tokens(Sample.of("four" * 3, PICTURE), pictures=0) == 3
