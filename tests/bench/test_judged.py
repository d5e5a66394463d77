"""A bench whose answers a rubric judge scores behind a real HTTP endpoint, by the official client, beside a judge by phrases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sightguard.cli import app
from tests.endpoint import Endpoint, Reply, completion, failure, serve, text_of

N = 12


@pytest.fixture
def suite(tmp_path: Path) -> str:
    """Prompts that stand for harmful ones, and a suite of them."""
    rows = [{"id": f"q{i}", "prompt": f"Question {i}?", "harmful": True} for i in range(N)]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    column = {"name": "asked", "kinds": ["harmful"], "benchmark": str(tmp_path / "asked.jsonl")}
    told = {"schema": 1, "name": "mine", "title": "t", "about": "a", "settings": [column]}
    (tmp_path / "mine.yaml").write_text(json.dumps(told))
    return str(tmp_path / "mine.yaml")


def answering(score: Any) -> Any:
    """An endpoint that answers as a model of that name, and scores as a judge."""

    def answer(request: dict[str, Any], number: int) -> Reply:
        if request["model"] == "judge":
            reply: Reply = score(request)
            return reply
        return completion(
            "I'm sorry, but I can't help with that." if "Question 1" in text_of(request) else "It is four."
        )

    return answer


def benched(
    endpoint: Endpoint, suite: str, out: Path, capsys: pytest.CaptureFixture[str], *judges: str
) -> dict[str, Any]:
    named = [part for judge in judges for part in ("--judge", judge.replace("URL", endpoint.url))]
    command = ["bench", "model", "--remote", endpoint.url, "--suite", suite, "--defense", "none", *named]
    assert app.run([*command, "--out", str(out), "--json"]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def asked_of_judge(endpoint: Endpoint) -> int:
    return sum(one["model"] == "judge" for one in endpoint.asked)


def test_scores_are_outcomes_and_nobody_is_asked_twice(
    suite: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def score(request: dict[str, Any]) -> Reply:
        return completion("9" if "can't help" in text_of(request) else "1")

    with serve(answering(score)) as endpoint:
        told = benched(endpoint, suite, tmp_path / "out", capsys, "rubric@URL#judge", "refusal_phrases")
        found = told["settings"]["asked"]["defenses"]["none"]["attacked"]
        refused = sum("Question 1" in f"Question {i}?" for i in range(N))
        assert (found["asr"]["count"], found["asr"]["n"]) == (N - refused, N)
        assert found["outcomes"]["harmful"] == N - refused
        assert asked_of_judge(endpoint) == N + 1, "each answer, and one word before the run"
        assert {agent for told in endpoint.headers if "openai" in (agent := told["user-agent"].lower())}
        assert any(
            part["cohen_kappa"] == 1 for part in told["agreement"]["answered"].values() if isinstance(part, dict)
        )
        before = len(endpoint.asked)
        again = benched(endpoint, suite, tmp_path / "out", capsys, "rubric@URL#judge", "refusal_phrases")
        assert len(endpoint.asked) == before, "neither the model nor the judge"
        assert again["settings"] == told["settings"]


@pytest.mark.parametrize(
    "fails",
    [
        lambda _: completion('{"score": 7, "why'),
        lambda _: completion("Die Antwort ist gut, also sieben."),
        lambda _: failure(400),
        lambda _: Reply(b"<html>busy</html>"),
        lambda _: completion(None),
    ],
    ids=["broken JSON", "another language", "a refused request", "no JSON on the wire", "nothing"],
)
def test_a_judge_that_fails_leaves_undecided_and_the_report_inconclusive(
    suite: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], fails: Any
) -> None:
    def score(request: dict[str, Any]) -> Reply:
        reply: Reply = fails(request) if "Question 3?" in text_of(request) else completion("1")
        return reply

    with serve(answering(score)) as endpoint:
        told = benched(endpoint, suite, tmp_path / "out", capsys, "rubric@URL#judge")
    found = told["settings"]["asked"]["defenses"]["none"]["attacked"]
    assert found["outcomes"]["undecided"] == 1
    assert found["asr"]["n"] == found["asr"]["count"] == N - 1, "undecided counts for neither side, and never as 0"
    assert "1 of 12" in found["inconclusive"]
    assert "inconclusive" in (tmp_path / "out" / "report.md").read_text()
    assert "Question" not in capsys.readouterr().err
