"""Two real runs of `sightguard bench` are compared by `sightguard compare`, whose status is what a build stops on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sightguard.cli import app
from tests.bench.few import LIMIT

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The same bench twice, and once behind other weights."""
    folder, made = tmp_path_factory.mktemp("runs"), dict[str, str]()
    for name, model in (("one", "pocket"), ("again", "pocket"), ("other", "pocket-1")):
        made[name] = str(folder / name)
        command = ["bench", model, "--suite", "quick", "--limit", str(LIMIT), "--defense", "none", "--out", made[name]]
        assert app.run(command) == 0
    return made


def compared(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    status = app.run(["compare", *arguments, "--json"])
    return status, json.loads(capsys.readouterr().out)


def rates(run: str, metric: str) -> dict[str, float]:
    """What the run's own results say of the undefended model, by setting."""
    told = json.loads((Path(run) / "results.json").read_text())
    parts = {name: part["defenses"]["none"] for name, part in told["settings"].items()}
    where = {"asr": ("attacked", "asr"), "over_refusal": ("benign", "over_refusal")}[metric]
    return {name: part[where[0]][where[1]]["value"] for name, part in parts.items() if part[where[0]]}


def test_the_same_bench_twice_passes_every_rule(runs: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    rules = [part for rule in ("asr+0", "asr-0", "utility-0", "over_refusal+0") for part in ("--fail-if", rule)]
    status, told = compared(capsys, runs["one"], runs["again"], *rules)
    assert status == 0
    assert told["configuration"] == told["left_out"] == []
    assert {row["how"] for row in told["rows"]} == {"paired"}
    assert [check["checked"] for check in told["checks"]] == [3, 3, 2, 2]


def test_another_model_is_named_and_fails_the_rule_just_where_its_own_results_say(
    runs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    status, told = compared(capsys, runs["one"], runs["other"], "--fail-if", "asr+0.02", "--fail-if", "asr-0.02")
    assert "model" in {row["what"] for row in told["configuration"]}
    for metric in ("asr", "over_refusal"):
        first, second = rates(runs["one"], metric), rates(runs["other"], metric)
        for row in told["rows"]:
            if row["metric"] == metric:
                there = (row["first"]["value"], row["second"]["value"])
                assert there == (first[row["setting"]], second[row["setting"]])
                assert row["common"] == LIMIT
    first, second = rates(runs["one"], "asr"), rates(runs["other"], "asr")
    moved = {name for name in first if abs(second[name] - first[name]) > 0.02}
    found = {failure["setting"] for check in told["checks"] for failure in check["failures"]}
    assert found == moved != set()
    assert status == bool(moved)
