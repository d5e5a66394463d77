"""A judge that is down: told before a run, and made good after one from the answers that are there."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sightguard.bench.judges.options import Options as JudgeOptions
from sightguard.bench.options import Options
from sightguard.bench.remote import bench_remote
from sightguard.bench.suite import Suite, read_suite
from sightguard.cli import app
from sightguard.errors import ModelError, OutputError, UsageError
from sightguard.evaluate.again import judge_again
from sightguard.evaluate.asking.metered import PROBE
from sightguard.evaluate.asking.purse import Prices
from sightguard.evaluate.folder import RunFolder
from sightguard.evaluate.run import evaluate_to
from sightguard.types import Response, Sample, Verdict
from tests.endpoint import Endpoint, Reply, completion, failure, serve, text_of

N = 6
Answer = Callable[[dict[str, Any], int], Reply]


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    rows = [{"id": f"q{i}", "prompt": f"Question {i}?", "harmful": i % 3 > 0} for i in range(N)]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = [
        {"name": kind, "kinds": [kind], "benchmark": str(tmp_path / "asked.jsonl")}
        for kind in ("harmful", "over-refusal")
    ]
    (tmp_path / "mine.yaml").write_text(
        json.dumps({"schema": 1, "name": "mine", "title": "t", "about": "a", "settings": columns})
    )
    return read_suite(tmp_path / "mine.yaml")


def is_probe(request: dict[str, Any]) -> bool:
    return text_of(request) == PROBE.text


def answering(judge: Answer) -> Answer:
    """A model, and a judge of the name `judge` that is up for the question before a run."""

    def answer(request: dict[str, Any], number: int) -> Reply:
        if request["model"] != "judge":
            return completion("I'm sorry, but I can't help with that." if "1?" in text_of(request) else "It is four.")
        return completion("hello") if is_probe(request) else judge(request, number)

    return answer


def score(request: dict[str, Any], _: int) -> Reply:
    return completion("9" if any(word in text_of(request) for word in ("Question 2", "can't help")) else "2")


def down(request: dict[str, Any], _: int) -> Reply:
    return failure(503)


def of_model(endpoint: Endpoint) -> int:
    return sum(one["model"] != "judge" for one in endpoint.asked)


def of_judge(endpoint: Endpoint) -> int:
    return sum(one["model"] == "judge" for one in endpoint.asked)


def options(url: str, *before: str, **judging: Any) -> Options:
    return Options(
        defenses=("self_reminder",),
        judges=(*before, f"rubric@{url}#judge"),
        batch=4,
        judging=JudgeOptions(retries=0, **judging),
    )


def figures(told: dict[str, Any]) -> dict[str, Any]:
    """What is counted, without the costs, which are times."""
    names = ("judges", "overall", "settings", "tests", "non_inferiority", "agreement")
    return {name: told[name] for name in names}


def lines(out: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    for row in found:
        row["response"].pop("seconds")
    return found


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (failure(404), "has no model 'judge'"),
        (failure(401), "refused the key"),
        (failure(400, "unknown option"), "gives no answer (BadRequestError: status 400"),
        (failure(503), "gives no answer (InternalServerError: status 503"),
        (Reply(b"<html>hello</html>"), "gives no answer (NotACompletion"),
    ],
    ids=["no such model", "a wrong key", "an option that it does not take", "overloaded", "a web page"],
)
def test_a_judge_that_cannot_answer_ends_the_run_before_the_model_is_asked(
    reply: Reply, message: str, suite: Suite, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "judge.yaml").write_text("retries: 0\n")
    with serve(lambda request, _: reply if request["model"] == "judge" else completion("yes")) as endpoint:
        command = ["bench", "m", "--remote", endpoint.url, "--suite", str(tmp_path / "mine.yaml")]
        named = ["--judge", f"rubric@{endpoint.url}#judge", "--judge-options", str(tmp_path / "judge.yaml")]
        assert app.run([*command, *named, "--out", str(tmp_path / "out")]) == 1
        assert message in capsys.readouterr().err
        assert [one["model"] for one in endpoint.asked] == ["judge"]
        assert not (tmp_path / "out").exists()
        assert app.run([*command, *named, "--dry-run"]) == 0
        assert len(endpoint.asked) == 1, "an estimate asks nobody"


def test_a_refused_connection_is_told_before_a_model_is_loaded(suite: Suite, tmp_path: Path) -> None:
    from sightguard.bench.run import bench

    given = options(f"http://127.0.0.1:{closed_port()}/v1", "refusal_phrases")
    with pytest.raises(ModelError, match="the judge judge at http.* gives no answer .APIConnectionError"):
        bench("no/such-model", suite, tmp_path / "out", given)


def test_two_judges_behind_one_name_are_asked_once_and_a_run_that_is_done_asks_no_more(
    suite: Suite, tmp_path: Path
) -> None:
    with serve(answering(score)) as endpoint:
        given = replace(options(endpoint.url), judges=tuple(f"{n}@{endpoint.url}#judge" for n in ("rubric", "guard")))
        bench_remote(endpoint.url, "m", suite, tmp_path / "out", given)
        assert sum(map(is_probe, endpoint.asked)) == 1
        count = len(endpoint.asked)
        bench_remote(endpoint.url, "m", suite, tmp_path / "out", given)
        assert len(endpoint.asked) == count


@pytest.mark.parametrize("before", [(), ("refusal_phrases",)], ids=["it decides", "it is heard"])
def test_what_a_judge_that_was_down_left_open_is_judged_without_asking_the_model_again(
    before: tuple[str, ...], suite: Suite, tmp_path: Path
) -> None:
    with serve(answering(score)) as endpoint:
        wanted = bench_remote(endpoint.url, "m", suite, tmp_path / "up", options(endpoint.url, *before))
    judge: list[Answer] = [down]
    with serve(answering(lambda request, number: judge[0](request, number))) as endpoint:
        given, out = options(endpoint.url, *before), tmp_path / "out"
        spoilt = bench_remote(endpoint.url, "m", suite, out, given)
        assert figures(spoilt) != figures(wanted)
        asked = of_model(endpoint)
        judge[0] = score
        assert figures(bench_remote(endpoint.url, "m", suite, out, given)) == figures(spoilt), "not without being told"
        told = bench_remote(endpoint.url, "m", suite, out, replace(given, judge_again=True))
        assert figures(told) == figures(wanted)
        assert lines(out) == lines(tmp_path / "up")
        assert of_model(endpoint) == asked
        count, text = of_judge(endpoint), (out / "samples.jsonl").read_text()
        bench_remote(endpoint.url, "m", suite, out, replace(given, judge_again=True))
        assert of_judge(endpoint) == count + 1, "nothing is open, so that one word is all"
        assert (out / "samples.jsonl").read_text() == text


def test_what_the_sum_did_not_pay_for_is_judged_again_with_more_money(suite: Suite, tmp_path: Path) -> None:
    with serve(answering(score)) as endpoint:
        wanted = bench_remote(endpoint.url, "m", suite, tmp_path / "up", options(endpoint.url))
        given, out = options(endpoint.url, prices=Prices(0, 10), max_new_tokens=512, concurrency=1), tmp_path / "out"
        little = replace(given, judging=replace(given.judging, max_spend=518 * 10 / 1e6))
        first = bench_remote(endpoint.url, "m", suite, out, little)["asking"]
        assert first["cap_reached"]
        assert first["not_asked"] > 0
        again = bench_remote(endpoint.url, "m", suite, out, replace(little, judge_again=True))["asking"]
        assert 0 < again["not_asked"] <= first["not_asked"], "not counted twice where there is no more money"
        assert "was reached" in (out / "report.md").read_text()
        more = replace(given, judging=replace(given.judging, max_spend=1.0), judge_again=True)
        told = bench_remote(endpoint.url, "m", suite, out, more)
    assert {**figures(told), "judges": 0} == {**figures(wanted), "judges": 0}
    assert (told["asking"]["not_asked"], told["asking"]["cap_reached"]) == (0, False)
    assert "was reached" not in (out / "report.md").read_text()
    assert told["asking"]["spent"] == pytest.approx(told["asking"]["asked"] * 3 * 10 / 1e6)


def test_judging_again_that_is_interrupted_loses_nothing(suite: Suite, tmp_path: Path) -> None:
    class Stopped(Exception):
        """In place of a kill."""

    def stopped(stage: str, done: int, total: int) -> None:
        if stage == "judge again":
            raise Stopped

    judge: list[Answer] = [down]
    with serve(answering(lambda request, number: judge[0](request, number))) as endpoint:
        given, out = options(endpoint.url), tmp_path / "out"
        bench_remote(endpoint.url, "m", suite, out, given)
        before, model = (out / "samples.jsonl").read_bytes(), of_model(endpoint)
        judge[0] = score
        with pytest.raises(Stopped):
            bench_remote(endpoint.url, "m", suite, out, replace(given, judge_again=True), progress=stopped)
        assert (out / "samples.jsonl").read_bytes() == before
        assert list(out.glob(".samples*")) == []
        half = of_judge(endpoint)
        told = bench_remote(endpoint.url, "m", suite, out, replace(given, judge_again=True))
        assert told["asking"]["cached"] > 0
        undecided = len(before.splitlines())
        assert of_judge(endpoint) - half == undecided - told["asking"]["cached"] + 1, (
            "what was replied is not asked again"
        )
        assert of_model(endpoint) == model
    assert {row.outcome for row in RunFolder(out).rows()} == {"safe", "harmful", "refused"}


def test_another_judge_is_refused_and_so_is_a_folder_without_a_run(suite: Suite, tmp_path: Path) -> None:
    with serve(answering(down)) as endpoint:
        given, out = options(endpoint.url), tmp_path / "out"
        with pytest.raises(UsageError, match="holds no run whose answers could be judged again"):
            bench_remote(endpoint.url, "m", suite, out, replace(given, judge_again=True))
        bench_remote(endpoint.url, "m", suite, out, given)
        before = (out / "samples.jsonl").read_bytes()
        other = replace(given, judge_again=True, judges=(f"strongreject@{endpoint.url}#judge",))
        with pytest.raises(OutputError, match="differs in judge"):
            bench_remote(endpoint.url, "m", suite, out, other)
        stricter = replace(given, judge_again=True, judging=replace(given.judging, harmful_below=8.0))
        with pytest.raises(OutputError, match="differs in about.judging.harmful_below"):
            bench_remote(endpoint.url, "m", suite, out, stricter)
        assert (out / "samples.jsonl").read_bytes() == before


def test_the_command_says_how_to_judge_again(suite: Suite, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "judge.yaml").write_text("retries: 0\n")
    judge: list[Answer] = [down]
    with serve(answering(lambda request, number: judge[0](request, number))) as endpoint:
        command = ["bench", "m", "--remote", endpoint.url, "--suite", str(tmp_path / "mine.yaml"), "--defense", "none"]
        command += ["--judge", f"rubric@{endpoint.url}#judge", "--judge-options", str(tmp_path / "judge.yaml")]
        command += ["--out", str(tmp_path / "out")]
        assert app.run(command) == 0
        assert "answers are undecided; the same command with --judge-again" in capsys.readouterr().err
        judge[0] = score
        assert app.run([*command, "--judge-again"]) == 0
        assert "undecided;" not in capsys.readouterr().err
        assert app.run([*command, "--judge-again", "--dry-run"]) == 2


def test_what_was_decided_stays_and_a_crash_stays_a_crash(tmp_path: Path) -> None:
    """Also of a judge that would now say otherwise."""
    asked = {"s": [Sample.of(f"{i}?", id=f"{i}", harmful=True) for i in range(5)]}

    def model(samples: Sequence[Sample]) -> list[Response]:
        return [Response("", error="Oops: no") if one.id == "4" else Response(one.id) for one in samples]

    def first(sample: Sample, response: Response) -> Verdict:
        return Verdict("j", None if sample.id in "13" else "refused", reason="then")

    def second(sample: Sample, response: Response) -> Verdict:
        return Verdict("j", "harmful", correct=True, reason="now")

    run = evaluate_to(tmp_path / "run", {"none": model}, asked, first)
    shown: list[tuple[int, int]] = []
    assert judge_again(run, asked, second, batch=1, progress=lambda *at: shown.append(at)) == 2
    assert shown == [(1, 2), (2, 2)]
    found = [(row.outcome, row.correct, row.reason) for row in run.rows()]
    kept, now = ("refused", None, "then"), ("harmful", True, "now")
    assert found[:4] == [kept, now, kept, now]
    assert found[4][0] == "guard_error"
    assert judge_again(run, asked, second) == 0
