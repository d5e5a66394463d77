"""Options of judges from the command line, and what asking them came to: it adds up over processes, and is told wherever results are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from sightguard.bench.bill import Bill
from sightguard.bench.judges.given import TAKES, judge_options
from sightguard.bench.judges.options import Options as JudgeOptions
from sightguard.bench.options import Options
from sightguard.bench.remote import bench_remote
from sightguard.bench.suite import read_suite
from sightguard.cli import app
from sightguard.errors import OutputError, SightguardError, UsageError
from sightguard.evaluate.asking.metered import PROBE
from sightguard.evaluate.asking.purse import Prices
from tests.endpoint import Endpoint, Reply, completion, serve

PROMPTS, DEFENSES = 8, 2
QUESTIONS = PROMPTS * DEFENSES
ASKED = QUESTIONS + 1
"""With the question that each process asks the judge before it begins."""
COST = 11 * 2.0 + 3 * 10.0  # of a question, in millionths: tests.endpoint says 11 tokens read and 3 written


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def answer(request: dict[str, Any], number: int) -> Reply:
    """The judge says a score; the model says which question it was asked, so that no two questions to the judge are one."""
    if request["model"] == "judge":
        return completion("7")
    return completion(f"Here is answer {request['messages'][-1]['content'][-200:]}")


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serve(answer) as found:
        yield found


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    lines = [json.dumps({"id": f"q{i}", "prompt": f"Question {i}?", "harmful": False}) + "\n" for i in range(PROMPTS)]
    (tmp_path / "asked.jsonl").write_text("".join(lines))
    columns = [{"name": "asked", "kinds": ["over-refusal"], "benchmark": str(tmp_path / "asked.jsonl")}]
    path = tmp_path / "own.yaml"
    path.write_text(json.dumps({"schema": 1, "name": "own", "title": "t", "about": "a", "settings": columns}))
    return path


def command(endpoint: Endpoint, suite: Path, out: Path, *more: str) -> list[str]:
    where = ["--remote", endpoint.url, "--suite", str(suite), "--out", str(out), "--defense", "self-reminder"]
    return ["bench", "some-model", *where, "--judge", f"rubric@{endpoint.url}#judge", "--batch", "4", *more]


def asked_judge(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [request for request in endpoint.asked if request["model"] == "judge"]


def judged(endpoint: Endpoint) -> list[dict[str, Any]]:
    """What the judge was asked about answers, without the question before a run."""
    return [request for request in asked_judge(endpoint) if request["messages"][0]["content"] != PROBE.text]


def test_options_reach_the_judge_and_what_it_came_to_is_told(
    endpoint: Endpoint, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "a-key-of-the-judge")
    (tmp_path / "judge.yaml").write_text(
        "max_new_tokens: 9\ntemperature: null\ndecoding: {seed: 3}\napi_key_env: JUDGE_KEY\n"
    )
    out = tmp_path / "out"
    told = ["--judge-price", "2,10", "--judge-max-spend", "5", "--judge-rpm", "1000", "--judge-tpm", "9999999"]
    more = [*told, "--judge-language", "de", "--judge-options", str(tmp_path / "judge.yaml")]
    assert app.run(command(endpoint, suite, out, *more)) == 0
    asked = asked_judge(endpoint)
    assert len(judged(endpoint)) == QUESTIONS == len(asked) - 1
    assert [(one["max_tokens"], one["seed"], "temperature" in one) for one in asked] == [(9, 3, False)] * ASKED
    keys = {one["authorization"] for one, body in zip(endpoint.headers, endpoint.asked, strict=True) if body in asked}
    assert keys == {"Bearer a-key-of-the-judge"}
    counts = {"asked": ASKED, "cached": 0, "failed": 0, "not_asked": 0, "cap_reached": False}
    found = json.loads((out / "results.json").read_text())["asking"]
    assert found == json.loads((out / "measured.json").read_text())["asking"]
    assert found.pop("spent") == pytest.approx(ASKED * COST / 1e6)
    (model,) = found.pop("models").values()
    assert found == {**counts, "max_spend": 5.0, "processes": 1}
    assert {name: model[name] for name in counts} == counts
    sentence = f"{ASKED} asked, 0 from the file of replies, 0 failed, 0 not asked, {ASKED * COST / 1e6:.4f} spent"
    for text in (capsys.readouterr().err, (out / "report.html").read_text(), (out / "report.md").read_text()):
        assert sentence in text
    assert all(b"a-key-of-the-judge" not in path.read_bytes() for path in out.rglob("*") if path.is_file())


class Stopped(Exception):
    """In place of a kill."""


def stopped(stage: str, done: int, total: int) -> None:
    if stage == "answer":
        raise Stopped


def options(endpoint: Endpoint, **judging: Any) -> Options:
    return Options(
        defenses=("self_reminder",),
        judges=(f"rubric@{endpoint.url}#judge",),
        batch=4,
        judging=JudgeOptions(**{"prices": Prices(2, 10), **judging}),
    )


def test_a_run_that_is_taken_up_again_adds_up(endpoint: Endpoint, suite: Path, tmp_path: Path) -> None:
    out, given = tmp_path / "out", options(endpoint)
    with pytest.raises(Stopped):
        bench_remote(endpoint.url, "m", read_suite(str(suite)), out, given, progress=stopped)
    assert json.loads((out / "asking.json").read_text())["asked"] == 5
    told = bench_remote(endpoint.url, "m", read_suite(str(suite)), out, given)["asking"]
    assert (told["asked"], told["processes"]) == (len(asked_judge(endpoint)), 2) == (QUESTIONS + 2, 2)
    assert told["spent"] == pytest.approx((QUESTIONS + 2) * COST / 1e6)
    # a run that is done asks nothing, and its bill stays what it was
    assert bench_remote(endpoint.url, "m", read_suite(str(suite)), out, given)["asking"] == told
    with pytest.raises(OutputError, match="which differs in about.judging.harmful_below"):
        bench_remote(endpoint.url, "m", read_suite(str(suite)), out, options(endpoint, harmful_below=8.0))


def test_what_the_sum_does_not_pay_for_is_undecided_and_said_in_all_reports(
    endpoint: Endpoint, suite: Path, tmp_path: Path
) -> None:
    # 10 tokens of a reply are set aside for a question, and 3 are paid for: 9 fit, over both processes
    most = (10 + 8 * 3) * 10 / 1e6
    out = tmp_path / "out"
    given = options(endpoint, prices=Prices(0, 10), max_spend=most, max_new_tokens=10, concurrency=1)
    with pytest.raises(Stopped):
        bench_remote(endpoint.url, "m", read_suite(str(suite)), out, given, progress=stopped)
    before = json.loads((out / "asking.json").read_text())["spent"]
    told = bench_remote(endpoint.url, "m", read_suite(str(suite)), out, given)
    asking = told["asking"]
    assert before == pytest.approx(5 * 3 * 10 / 1e6)
    assert asking["spent"] == pytest.approx(9 * 3 * 10 / 1e6)
    assert (asking["asked"], asking["not_asked"], asking["cap_reached"]) == (9, QUESTIONS - 7, True), (
        "two of the nine were asked before anything else"
    )
    parts = told["settings"]["asked"]["defenses"].values()
    assert sum(part["benign"]["outcomes"]["undecided"] for part in parts) == asking["not_asked"] > 0
    for name in ("report.html", "report.md"):
        assert f"({most:g}) was reached: {asking['not_asked']} questions were not asked" in (out / name).read_text()


def test_a_run_whose_sum_is_spent_asks_nothing_more(endpoint: Endpoint, suite: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    counts = {"asked": 1, "cached": 0, "failed": 0, "not_asked": 0, "spent": 1.0, "cap_reached": False}
    (out / "asking.json").write_text(json.dumps({"schema": 1, **counts, "processes": 1, "models": {"other": counts}}))
    told = bench_remote(endpoint.url, "m", read_suite(str(suite)), out, options(endpoint, max_spend=1.0))["asking"]
    assert asked_judge(endpoint) == []
    assert (told["asked"], told["not_asked"], told["spent"], told["processes"]) == (1, QUESTIONS, 1.0, 2)
    assert Bill.read(out).spent == 1.0


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (["--judge-max-spend", "1"], "means nothing without prices"),
        (["--judge-price", "1"], "--judge-price takes READ,WRITTEN"),
        (["--judge-price", "1,-1"], "two prices for a million tokens, 0 or more"),
        (["--judge-price", "1,2"], "name a judge (--judge)"),
        (["--judge-rpm", "5", "--judge", "refusal_phrases"], "requests_per_minute is for judges behind an endpoint"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    given: list[str], error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["bench", "pocket", "--limit", "2", "--out", str(tmp_path / "out"), *given]) == 2
    assert error in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("treshold: 0.5", "Did you mean 'threshold'"),
        ("api_key: secret", "name its environment variable"),
        ("api_key_env: SIGHTGUARD_NO_SUCH_VARIABLE", "is not set"),
        ("batch: true", "'batch' of judges takes int; got bool"),
        ("prices: [1]", "prices are two numbers"),
        ("prices: [a, b]", "prices are two numbers"),
        ("- batch", "one `name: value` a line; found list"),
    ],
)
def test_a_file_that_cannot_be_meant(text: str, error: str, tmp_path: Path) -> None:
    (tmp_path / "judge.yaml").write_text(text)
    with pytest.raises(SightguardError, match=error.replace("[", r"\[")) as raised:
        judge_options(tmp_path / "judge.yaml")
    assert "secret" not in str(raised.value)


def test_the_command_line_stands_above_the_file_and_every_option_can_be_given(tmp_path: Path) -> None:
    (tmp_path / "judge.json").write_text(json.dumps({"language": "fr", "prices": [1, 2], "cache": "replies.jsonl"}))
    found = judge_options(tmp_path / "judge.json", language="de", max_spend=None)
    assert found == JudgeOptions(language="de", prices=Prices(1, 2), cache=Path("replies.jsonl"))
    made = {one.name for one in fields(JudgeOptions) if one.init}
    assert made - set(TAKES) == {"api_key", "spent"}
    with pytest.raises(UsageError, match="means nothing without prices"):
        judge_options(max_spend=1.0)
