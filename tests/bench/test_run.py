"""A bench asks nothing twice, ends the same after a kill, and shows the undefended model beside every figure."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sightguard.bench import run
from sightguard.bench.defenses import Defense, defense
from sightguard.bench.options import Options, defenses_of
from sightguard.bench.run import bench
from sightguard.bench.suite import Suite, read_suite
from sightguard.cli import app
from sightguard.errors import OutputError
from sightguard.types import Response, Sample
from tests.bench.few import DEFENSES, LIMIT, files
from tests.endpoint import Reply, completion, failure, serve, text_of

pytestmark = pytest.mark.usefixtures("one_thread")
FEW = Options(defenses=DEFENSES, limit=LIMIT, batch=4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never interrupted."""
    out = tmp_path_factory.mktemp("bench") / "whole"
    bench("pocket", read_suite("quick"), out, FEW)
    return out


def figures(out: Path) -> dict[str, Any]:
    """What a run found, without how long it took."""
    told: dict[str, Any] = json.loads((out / "results.json").read_text())
    return {name: told[name] for name in ("overall", "settings", "tests", "non_inferiority", "overlap", "agreement")}


def answers(out: Path) -> dict[tuple[str, str, str], str]:
    rows = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    found = {(row["condition"], row["setting"], row["id"]): row["response"]["text"] for row in rows}
    assert len(found) == len(rows)
    return found


def test_every_defense_answers_every_setting(whole: Path) -> None:
    told = json.loads((whole / "results.json").read_text())
    assert told["defenses"] == ["none", "safevlm"]
    assert set(told["settings"]) == {column.name for column in read_suite("quick").settings}
    assert len(answers(whole)) == 2 * 5 * LIMIT
    assert told["manifest"]["about"]["settings"]["blank_image"]["source"] == "the embedded model's own world"
    assert (told["overlap"]["exact"], told["overlap"]["not_known"]) == (None, ["safevlm"])
    for name in ("report.html", "report.md"):
        assert "safevlm" in (whole / name).read_text()


@pytest.mark.parametrize("point", ["in the first batch", "while a line is written", "before the report"])
def test_killed_and_taken_up_again_it_ends_with_the_same_figures(whole: Path, tmp_path: Path, point: str) -> None:
    command = [sys.executable, "-m", "tests.bench.killed", str(tmp_path / "out"), point]
    assert subprocess.run(command, check=False, capture_output=True).returncode == -signal.SIGKILL
    before = (tmp_path / "out" / "samples.jsonl").read_bytes() if (tmp_path / "out" / "samples.jsonl").exists() else b""
    bench("pocket", read_suite("quick"), tmp_path / "out", FEW)
    assert (tmp_path / "out" / "samples.jsonl").read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    assert answers(tmp_path / "out") == answers(whole)
    assert figures(tmp_path / "out") == figures(whole)


def test_another_configuration_is_refused_and_named(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files(whole)
    monkeypatch.setattr("sightguard.bench.run._loaded", lambda *_: pytest.fail("the model was loaded"))
    for other, what in (
        (Options(defenses=DEFENSES, limit=LIMIT, batch=4, seed=1), r"about\.seed \(0 there, 1 here\), settings\."),
        (Options(defenses=DEFENSES, limit=LIMIT - 1, batch=4), r"settings\.benign_image\.n \(6 there, 5 here\)"),
        (Options(defenses=DEFENSES, limit=LIMIT, batch=5), r"batch \(4 there, 5 here\)\."),
        (
            Options(defenses=DEFENSES[:1], limit=LIMIT, batch=4),
            r"conditions \(\['none', 'safevlm'\] there, \['none'\] here\)",
        ),
        (
            Options(defenses=DEFENSES, limit=LIMIT, batch=4, judges=("refusal_phrases",)),
            r"about\.judging",
        ),
    ):
        with pytest.raises(OutputError, match=rf"holds another run, which differs in .*{what}"):
            bench("pocket", read_suite("quick"), whole, other)
    assert files(whole) == before


def test_what_was_answered_is_not_asked_again(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "tests.bench.killed", str(out), "while a line is written"]
    assert subprocess.run(command, check=False, capture_output=True).returncode == -signal.SIGKILL
    before, asked = set(answers_so_far(out)), list[tuple[str, str]]()
    made = defense

    def counted(name: str, *args: Any) -> Defense:
        one = made(name, *args)

        def generate(samples: Sequence[Sample]) -> list[Response]:
            asked.extend((name, sample.id) for sample in samples)
            return one.generate(samples)

        return replace(one, generate=generate)

    monkeypatch.setattr(run, "defense", counted)
    for calls in (2 * 5 * LIMIT - len(before), 0):
        asked.clear()
        bench("pocket", read_suite("quick"), out, replace(FEW, measure=False))
        assert len(asked) == len(set(asked)) == calls
        assert not before & set(asked)
    # three of the batches of four and two were whole when the fourth was torn
    assert len(before) == 10
    assert answers(out) == answers(whole)


def answers_so_far(out: Path) -> list[tuple[str, str]]:
    """Who has answered what, by the lines that are whole."""
    text = (out / "samples.jsonl").read_text()
    rows = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
    return [(row["condition"], row["id"]) for row in rows]


def test_the_undefended_model_is_always_there_and_dashes_are_read() -> None:
    suite = read_suite("quick")
    assert defenses_of(suite, Options(defenses=("vlm-guard", "none"))) == ("none", "vlm_guard")
    assert defenses_of(suite, Options())[0] == "none"


def test_a_dry_run_asks_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert app.run(["bench", "pocket", "--suite", "vlm-guard-paper", "--limit", "10", "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["samples"] == 80
    assert told["calls"] == {"at_least": 320, "at_most": 320}
    assert told["defenses"] == ["none", "self_reminder", "goal_priority", "vlm_guard"]


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (["bench", "pocket", "--suite", "quik"], "no suite 'quik'. Did you mean 'quick'?"),
        (["bench", "pocket"], "expected --out FOLDER"),
        (["bench", "pocket", "--dry-run", "--defense", "magic"], "no defense 'magic'"),
        (["bench", "pocket", "--out", "x", "--guard", "vlm_guard"], "--guard takes NAME=DIR"),
    ],
)
def test_what_cannot_be_meant(given: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(given) == 2
    assert error in capsys.readouterr().err


@pytest.fixture
def own_suite(tmp_path: Path) -> Path:
    """A suite of the user's own prompts, harmless ones and such that stand for harmful ones."""
    (tmp_path / "asked.jsonl").write_text(
        "".join(json.dumps({"id": f"q{i}", "prompt": f"Question {i}?", "harmful": i % 2 == 0}) + "\n" for i in range(8))
    )
    path = tmp_path / "own.yaml"
    columns = [
        {"name": "asked", "kinds": ["harmful"], "benchmark": str(tmp_path / "asked.jsonl")},
        {"name": "asked/blank", "kinds": ["harmful"], "benchmark": str(tmp_path / "asked.jsonl"), "attacks": ["blank"]},
        {"name": "harmless", "kinds": ["over-refusal"], "benchmark": str(tmp_path / "asked.jsonl")},
    ]
    path.write_text(json.dumps({"schema": 1, "name": "own", "title": "t", "about": "a", "settings": columns}))
    return path


def test_an_endpoint_is_benched_without_torch(own_suite: Path, tmp_path: Path) -> None:
    def answer(request: dict[str, Any], number: int) -> Any:
        harmful = any(f"Question {i}?" in text_of(request) for i in (0, 2, 4, 6))
        pictured = isinstance(request["messages"][-1]["content"], list)
        return completion(
            "I'm sorry, but I can't help with that." if harmful and not pictured else "Here is the answer: it is four."
        )

    code = (
        "import sys\nfrom sightguard.cli import run\n"
        "status = run(sys.argv[1:])\nassert 'torch' not in sys.modules, 'torch was loaded'\nsys.exit(status)\n"
    )
    with serve(answer) as endpoint:
        command = [
            "bench",
            "some-model",
            "--remote",
            endpoint.url,
            "--suite",
            str(own_suite),
            "--defense",
            "self-reminder",
        ]
        done = subprocess.run(
            [sys.executable, "-c", code, *command, "--out", str(tmp_path / "out"), "--json"],
            capture_output=True, text=True, check=False, env={**__import__("os").environ, "OPENAI_API_KEY": "k"},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    rates = {
        name: part["defenses"]["none"]["attacked"]["asr"]
        for name, part in told["settings"].items()
        if part["n_harmful"]
    }
    assert {name: rate["value"] for name, rate in rates.items()} == {"asked": 0.0, "asked/blank": 1.0}
    assert [text_of(one) for one in endpoint.asked].count("Hello") == 1, "whether it is there"
    assert len(endpoint.asked) == 1 + 2 * (4 + 4 + 4)
    assert told["settings"]["harmless"]["n_benign"] == 4


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (None, "gives 'm' no answer (APIConnectionError"),
        (failure(401), "refused the key for 'm' (status 401)"),
        (failure(404), "has no model 'm'"),
        (failure(500), "gives 'm' no answer (InternalServerError: status 500"),
        (Reply(b"<html>hello</html>"), "gives 'm' no answer"),
    ],
    ids=["nobody listens", "wrong key", "no such model", "broken", "no such interface"],
)
def test_an_endpoint_that_cannot_answer_is_told_and_leaves_no_run(
    reply: Reply | None, error: str, own_suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["bench", "m", "--suite", str(own_suite), "--defense", "none", "--out", str(tmp_path / "o"), "--json"]
    with serve(lambda request, number: reply or completion("never")) as endpoint:
        url = endpoint.url if reply else "http://127.0.0.1:9/v1"
        assert app.run([*command, "--remote", url]) == 1
    told = capsys.readouterr()
    assert error in json.loads(told.out)["error"]["message"]
    assert len(endpoint.asked) <= 2
    assert not (tmp_path / "o").exists()


def test_a_defense_that_needs_the_states_is_refused_for_an_endpoint(
    own_suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "bench",
        "m",
        "--remote",
        "http://localhost:1/v1",
        "--suite",
        str(own_suite),
        "--defense",
        "vlm-guard",
        "--out",
        str(tmp_path / "o"),
    ]
    assert app.run(command) == 2
    assert "needs the model's own states" in capsys.readouterr().err
    assert app.run([*command[:4], "--suite", "pixels", "--out", str(tmp_path / "o")]) == 2
    assert (
        "the attack 'pgd:4' of the setting 'harm_in_picture/pgd_4' needs the model's own weights"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (["--suite", "quick", "--judge", "magic"], "no judge 'magic'"),
        (["--suite", "quick", "--judge", "rubric"], "expected the endpoint that judges"),
        (["--suite", "quick", "--defense", "vlmguard"], "no defense 'vlmguard'. Did you mean 'vlm_guard'?"),
        (["--suite", "quick", "--defense", "self_reminder+"], "has an empty part"),
        (
            ["--suite", "benchmark: advbnch"],
            "the setting 'a' of the suite 'typo': no benchmark 'advbnch'. Did you mean 'advbench'?",
        ),
        (
            ["--suite", "attacks: [blnk]"],
            "the setting 'a' of the suite 'typo': no attack 'blnk'. Did you mean 'blank'?",
        ),
        (["--suite", "attacks: ['pgd:much']"], "'pgd:much' takes a number"),
        (["--suite", "attacks: [gone.py:turn]"], "no file 'gone.py'"),
    ],
)
def test_names_are_checked_before_a_model_is_loaded(
    command: list[str], error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sightguard.bench.run._loaded", lambda *_: pytest.fail("the model was loaded"))
    if ":" in command[1]:
        entry = command[1] if "benchmark" in command[1] else f"benchmark: advbench, {command[1]}"
        text = f"schema: 1\nname: typo\ntitle: t\nabout: a\nsettings: [{{name: a, kinds: [harmful], own: text_only, {entry}}}]\n"
        (tmp_path / "typo.yaml").write_text(text)
        command = [command[0], str(tmp_path / "typo.yaml"), *command[2:]]
    assert app.run(["bench", "pocket", *command, "--limit", "2", "--out", str(tmp_path / "o")]) == 2
    assert error in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_what_a_model_of_its_own_world_lacks_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        "schema: 1\nname: typo\ntitle: t\nabout: a\ndefenses: [none]\nsettings:\n  - {name: a, kinds: [harmful], own: text_only}\n"
        "  - {name: b, kinds: [harmful], own: text_onli}\n  - {name: c, kinds: [utility], benchmark: mme}\n"
    )
    (tmp_path / "typo.yaml").write_text(text)
    assert (
        app.run(
            ["bench", "pocket", "--suite", str(tmp_path / "typo.yaml"), "--limit", "1", "--out", str(tmp_path / "o")]
        )
        == 0
    )
    told = capsys.readouterr().err
    assert "left out: b: the embedded model's own world has no setting 'text_onli'; it has text_only, " in told
    assert "left out: c: the embedded model's own world has nothing of the kind" in told


def test_what_is_missing_is_told_all_at_once_with_how_to_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    suite: Suite = read_suite("vlm-guard-paper")
    assert app.run(["bench", "some/model", "--suite", "vlm-guard-paper", "--dry-run"]) == 1
    told = capsys.readouterr().err
    assert f"{len(suite.settings)} settings of 'vlm-guard-paper' cannot be asked" in told
    for column in suite.settings:
        assert f"{column.name}: " in told


def test_two_runs_in_one_folder_at_once_are_one_too_many(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "sightguard",
        "bench",
        "pocket",
        "--limit",
        "4",
        "--no-measure",
        "--defense",
        "none",
    ]
    both = [subprocess.Popen([*command, "--out", str(out)], stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate()[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 1]
    assert sum("another bench is writing to" in one for one in told) == 1
    rows = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    assert len({(row["setting"], row["id"]) for row in rows}) == len(rows) == 20
