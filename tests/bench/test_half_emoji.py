"""Answers that end inside an emoji, as an endpoint cuts them: the run ends, is taken up again, and every file of it can be read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sightguard.artifacts import json_text, well_formed, write_json, write_text
from sightguard.bench.options import Options
from sightguard.bench.remote import bench_remote
from sightguard.bench.report import write_report
from sightguard.bench.suite import read_suite
from sightguard.evaluate.folder import RunFolder
from sightguard.evaluate.judges import RefusalPhrases
from sightguard.evaluate.run import evaluate, evaluate_to
from sightguard.models.remote import Remote
from sightguard.types import Response, Sample
from tests.bench import made
from tests.endpoint import Reply, completion, failure, serve, text_of

HALF, GONE = "a face \ud83d", "a face \ufffd"


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def test_what_an_endpoint_cuts_inside_an_emoji_is_text_in_every_part_of_the_response() -> None:
    def answer(request: dict[str, Any], _: int) -> Reply:
        return {
            "text": completion(HALF),
            "thought": completion("so", reasoning_content=HALF),
            "refusal": completion(None, refusal=HALF),
            "error": failure(400, HALF),
            "whole": completion("\U0001f600 \u00e9"),
        }[text_of(request)]

    with serve(answer) as endpoint:
        asked = [Sample.of(name, id=name) for name in ("text", "thought", "refusal", "error", "whole")]
        text, thought, refusal, error, whole = Remote(endpoint.url, "m")(asked)
    assert (text.text, thought.thought, refusal.text, refusal.finish_reason) == (GONE, GONE, GONE, "refused")
    assert error.error is not None
    assert "\ufffd" in error.error
    assert whole.text == "\U0001f600 \u00e9"
    for response in (text, thought, refusal, error):
        json.dumps([response.text, response.thought, response.error], ensure_ascii=False).encode()


def test_a_question_with_half_an_emoji_is_asked() -> None:
    with serve(lambda *_: completion("yes")) as endpoint:
        (response,) = Remote(endpoint.url, "m")([Sample.of(HALF)])
    assert (response.text, response.error, text_of(endpoint.asked[0])) == ("yes", None, GONE)


def test_a_run_whose_answers_end_inside_an_emoji_ends_and_is_taken_up_again(tmp_path: Path) -> None:
    rows = [{"id": f"q{i}", "prompt": f"Question {i}?", "harmful": False, "category": "c"} for i in range(4)]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    column = {"name": "asked", "kinds": ["over-refusal"], "benchmark": str(tmp_path / "asked.jsonl")}
    (tmp_path / "s.yaml").write_text(
        json.dumps({"schema": 1, "name": "mine", "title": "t", "about": "a", "settings": [column]})
    )
    suite, out, given = read_suite(tmp_path / "s.yaml"), tmp_path / "out", Options(defenses=("none",))
    with serve(lambda *_: completion(HALF)) as endpoint:
        first = bench_remote(endpoint.url, "m", suite, out, given)
        asked = len(endpoint.asked)
        assert bench_remote(endpoint.url, "m", suite, out, given)["settings"] == first["settings"]
        assert len(endpoint.asked) == asked, "no answer is asked for again"
    assert [row.response.text for row in RunFolder(out).rows()] == [GONE] * 4
    assert GONE in (out / "report.html").read_text("utf-8")


def test_a_run_of_a_plugin_that_writes_half_an_emoji_is_read_back_as_it_was(tmp_path: Path) -> None:
    asked = {"s": [Sample.of("?", id=f"half \udc00 {i}", harmful=True, category=HALF) for i in range(3)]}
    seen: list[Sample] = []

    def model(samples: Sequence[Sample]) -> list[Response]:
        seen.extend(samples)
        return [Response(HALF, thought=HALF) for _ in samples]

    told = evaluate({"none": model}, asked, RefusalPhrases(), out=tmp_path / "run", about={"why": HALF})
    for _ in range(2):
        evaluate_to(tmp_path / "run", {"none": model}, asked, RefusalPhrases(), about={"why": HALF}, resume=True)
    assert len(seen) == 3, "an id with half a letter is found again"
    assert tuple(RunFolder(tmp_path / "run").rows()) == told.rows
    assert told.rows[0].response.text == HALF


def test_results_page_and_markdown_are_written_whatever_a_name_or_an_answer_holds(tmp_path: Path) -> None:
    rows = [made.row("none", f"kitchen {HALF}", i, "refused", harmful=False, text=HALF, judge=HALF) for i in range(3)]
    folder = made.write_run(
        tmp_path / "run", rows, told=made.about(settings={f"kitchen {HALF}": {"kind": "over-refusal"}})
    )
    told = write_report(folder)
    assert json.loads((folder / "results.json").read_text("utf-8")) == told
    for name in ("report.html", "report.md"):
        assert f"kitchen {GONE}" in (folder / name).read_text("utf-8")


def test_files_lose_nothing_that_utf_8_can_hold(tmp_path: Path) -> None:
    assert well_formed("\ud83d\ude00 \ud83d\ud83d \U0001f600") == "\U0001f600 \ufffd\ufffd \U0001f600"
    write_text(tmp_path / "text", "caf\u00e9 \udfff")
    assert (tmp_path / "text").read_text("utf-8") == "caf\u00e9 \ufffd"
    write_json(tmp_path / "json", {"a": "caf\u00e9"})
    assert "caf\u00e9" in (tmp_path / "json").read_text("utf-8"), "letters are written as they are"
    assert json.loads(json_text([HALF, "caf\u00e9"])) == [HALF, "caf\u00e9"]
