"""What a run is to do is on disk before it is done: another command is refused before anything is loaded, and has changed nothing."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sightguard.bench import pixels, run
from sightguard.bench.configured import Configured, digests
from sightguard.bench.options import Options
from sightguard.bench.report import write_report
from sightguard.bench.run import bench
from sightguard.bench.suite import Suite
from sightguard.cli import app
from sightguard.errors import OutputError, SightguardError
from sightguard.models.vlm import VLM
from tests.bench.few import ATTACKED, DEFENSES, STEPS, files

pytestmark = pytest.mark.usefixtures("one_thread")
FEW = Options(defenses=DEFENSES, limit=2, batch=4, measure=False)


@pytest.fixture(autouse=True)
def steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "STEPS", STEPS)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("configured") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixels, "STEPS", STEPS)
        bench("pocket", ATTACKED, out, FEW)
    return out


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def told(folder: Path, name: str = "manifest.json") -> Any:
    return json.loads((folder / name).read_text())


def rewrite(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (replace(FEW, limit=1, batch=1), r"batch \(4 there, 1 here\), settings\.plain/adaptive\.n \(2 there, 1 here\)"),
        (replace(FEW, defenses=("ecso",)), "conditions"),
        (replace(FEW, seed=1), "about.seed"),
        (replace(FEW, max_new_tokens=3), "about.max_new_tokens"),
        (replace(FEW, guards={"vlm_guard": Path(__file__).parent}), "about.guards.vlm_guard"),
    ],
)
def test_a_refused_command_has_loaded_nothing_and_left_every_file_as_it_was(
    finished: Path, other: Options, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(finished)
    assert len([name for name in before if name.endswith(".png")]) == 4
    for step in ("_loaded", "defense", "attacked"):
        monkeypatch.setattr(run, step, lambda *_, **__: pytest.fail("too late"))
    with pytest.raises(OutputError, match=f"holds another run, which differs in .*{what}"):
        bench("pocket", ATTACKED, finished, other)
    assert files(finished) == before


def test_another_judge_model_or_suite_is_refused_as_early(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files(finished)
    monkeypatch.setattr(run, "_loaded", lambda *_: pytest.fail("the model was loaded"))
    other: Suite = replace(ATTACKED, title="another")
    for model, suite, options, what in (
        ("pocket-1", ATTACKED, FEW, "about.model"),
        ("pocket", other, FEW, "about.suite.title"),
        ("pocket", ATTACKED, replace(FEW, judges=("refusal_phrases",)), "about.judging"),
    ):
        with pytest.raises(OutputError, match=what):
            bench(model, suite, finished, options)
    assert files(finished) == before


@pytest.mark.parametrize("changed", ["fingerprint", "defenses"])
def test_what_is_known_late_is_compared_before_the_attacks(
    out: Path, changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = told(out)["about"]
    about[changed] = {**about[changed], "repo" if changed == "fingerprint" else "none": "another"}
    rewrite(out / "manifest.json", about=about)
    before = files(out)
    monkeypatch.setattr(run, "attacked", lambda *_, **__: pytest.fail("too late"))
    with pytest.raises(OutputError, match=f"differs in about.{changed}"):
        bench("pocket", ATTACKED, out, FEW)
    assert files(out) == before


def test_the_manifest_is_written_before_the_model_is_loaded_and_taken_away_where_nothing_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def failing(*_: object) -> VLM:
        seen.append(told(tmp_path / "new"))
        raise SightguardError("no such model")

    monkeypatch.setattr(run, "_loaded", failing)
    with pytest.raises(SightguardError, match="no such model"):
        bench("pocket", ATTACKED, tmp_path / "new", FEW)
    (manifest,) = seen
    assert (manifest["judge"], manifest["batch"], manifest["about"]["guards"]) == ("pocket-grammar", 4, {})
    assert "fingerprint" not in manifest["about"]
    assert files(tmp_path / "new") == {}
    monkeypatch.undo()
    (tmp_path / "new" / "guards").mkdir()
    configured = Configured.of(tmp_path / "new", plan_of(), ("none",), 4, {})
    with pytest.raises(KeyboardInterrupt), configured.begun(lambda *_: pytest.fail("asked")):
        raise KeyboardInterrupt
    assert list(files(tmp_path / "new")) == ["manifest.json"]


def plan_of() -> Any:
    from sightguard.attacks.catalog import attacks_of
    from sightguard.bench.own import own_data
    from sightguard.bench.plan import plan

    return plan(ATTACKED, own_data("pocket"), attack=attacks_of(0), limit=1)


def test_what_attacks_found_is_a_result_and_does_not_make_the_run_another(out: Path) -> None:
    results = told(out, "results.json")
    assert "attacks" not in told(out)["about"]
    assert results["attacks"] == told(out, "measured.json")["attacks"]
    assert set(results["attacks"]) == {"plain/static", "plain/adaptive"}
    for name in ("report.md", "report.html"):
        assert "What attacks on pixels found" in (out / name).read_text()
    place = out / "attacks" / "plain" / "static" / "none" / "found.json"
    found = told(place.parent, place.name)
    # what another machine would compute, in the last digits
    rewrite(place, found=[{**row, "loss_before": row["loss_before"] * (1 + 1e-12)} for row in found["found"]])
    before = (out / "samples.jsonl").read_bytes()
    bench("pocket", ATTACKED, out, FEW)
    assert (out / "samples.jsonl").read_bytes() == before


@pytest.mark.parametrize("what", ["model", "defense", "prompts"])
def test_pictures_made_for_something_else_are_never_mixed_in(out: Path, what: str) -> None:
    place = out / "attacks" / "plain" / "adaptive" / "safevlm"
    made_for = told(place, "found.json")["made_for"]
    rewrite(place / "found.json", made_for={**made_for, what: "0" * 64})
    before = files(out)
    with pytest.raises(OutputError, match="does not hold the pictures that the answers of 'plain/adaptive' are to"):
        bench("pocket", ATTACKED, out, FEW)
    assert files(out) == before
    (out / "samples.jsonl").unlink()  # nothing is answered yet: then they are made anew
    (place / "00000.png").write_bytes(b"another picture")
    bench("pocket", ATTACKED, out, FEW)
    assert told(place, "found.json")["made_for"] == made_for
    assert (place / "00000.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_of_an_earlier_version_goes_on_and_is_shown(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    attacks = told(out, "measured.json")["attacks"]
    about = {**told(out)["about"], "attacks": attacks}
    del about["guards"]
    rewrite(out / "manifest.json", about=about)
    measured = {name: value for name, value in told(out, "measured.json").items() if name != "attacks"}
    (out / "measured.json").write_text(json.dumps({**measured, "overlap": {"exact": 0, "near": 2}}))
    for path in out.rglob("found.json"):
        found = told(path.parent, path.name)
        del found["made_for"]
        path.write_text(json.dumps(found))
    write_report(out)
    assert "about: attacks: plain/static: none: loss before" in (out / "report.md").read_text()
    assert "near: 2" in (out / "report.md").read_text()
    newer = Path(shutil.copytree(out, out.parent / "newer"))
    monkeypatch.setattr("sightguard.attacks.pgd.Pgd.run", lambda *_, **__: pytest.fail("the attack ran again"))
    bench("pocket", ATTACKED, newer, FEW)
    assert told(newer)["about"]["guards"] == {}
    assert told(newer, "results.json")["attacks"] == attacks
    assert (newer / "samples.jsonl").read_bytes() == (out / "samples.jsonl").read_bytes()
    with pytest.raises(OutputError, match=r"about.guards.vlm_guard"):
        bench("pocket", ATTACKED, newer, replace(FEW, guards={"vlm_guard": Path(__file__).parent}))
    capsys.readouterr()
    assert app.run(["compare", str(out), str(newer), "--json"]) == 0
    assert not [one for one in json.loads(capsys.readouterr().out)["configuration"] if "attacks" in one["what"]]


def test_killed_during_the_attack_it_ends_as_one_that_was_not(finished: Path, tmp_path: Path) -> None:
    picture = 3  # the first of the second attack
    command = [sys.executable, "-m", "tests.bench.killed", str(tmp_path / "out"), f"the attack: {picture}"]
    assert subprocess.run(command, check=False, capture_output=True).returncode == -signal.SIGKILL
    left = {name for name in files(tmp_path / "out") if name.endswith(".png")}
    assert len(left) == picture
    assert not (tmp_path / "out" / "samples.jsonl").exists()
    with pytest.raises(OutputError, match="about.seed"):
        bench("pocket", ATTACKED, tmp_path / "out", replace(FEW, seed=1))
    bench("pocket", ATTACKED, tmp_path / "out", FEW)
    pictures = {name: value for name, value in files(finished).items() if name.endswith(".png")}
    assert {name: value for name, value in files(tmp_path / "out").items() if name.endswith(".png")} == pictures
    rows = [(folder / "samples.jsonl").read_text().splitlines() for folder in (finished, tmp_path / "out")]
    answers = [
        [(row["condition"], row["id"], row["response"]["text"]) for row in map(json.loads, part)] for part in rows
    ]
    assert answers[0] == answers[1]
    assert told(finished, "results.json")["settings"] == told(tmp_path / "out", "results.json")["settings"]
    assert told(finished, "results.json")["attacks"] == told(tmp_path / "out", "results.json")["attacks"]


def test_the_digest_of_a_guard_is_that_of_its_weights_and_settings(tmp_path: Path) -> None:
    (tmp_path / "g" / "adapter").mkdir(parents=True)
    for name in ("guard.json", "directions.safetensors", "adapter/adapter_config.json", "README.md"):
        (tmp_path / "g" / name).write_text("a")
    first = digests({"g": tmp_path / "g"})
    (tmp_path / "g" / "README.md").write_text("b")
    assert digests({"g": tmp_path / "g"}) == first
    for name in ("guard.json", "directions.safetensors", "adapter/adapter_config.json"):
        (tmp_path / "g" / name).write_text("b")
        assert digests({"g": tmp_path / "g"}) != first
        (tmp_path / "g" / name).write_text("a")
    assert digests({"g": "owner/name"}) == {"g": "owner/name"}
