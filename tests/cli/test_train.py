"""`sightguard train` as a user runs it: on a tiny pocket model and records on disk, and with input that cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sightguard import VLM
from sightguard.cli.app import run
from sightguard.pocket import risks
from sightguard.safevlm.model import SafeVLM

QUICK = """
modules: {tokens: 2, side: 2, depth: 1, inner: 8}
stage1: {epochs: 0.5, batch: 8}
stage2: {epochs: 0.25, batch: 8}
lora: {rank: 2}
benign_checked: 4
max_over_refusal: 1.0
"""


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_records_on_disk_become_a_model_that_loads(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data, looked = risks.write(tmp_path / "data", "train", 64), risks.write(tmp_path / "data", "validation", 32)
    (tmp_path / "quick.yaml").write_text(QUICK)
    (tmp_path / "types.yaml").write_text(json.dumps(risks.TAXONOMY.as_json()))
    command = [
        "train",
        "pocket",
        "--data",
        str(data),
        "--held-out",
        str(looked),
        "--config",
        str(tmp_path / "quick.yaml"),
    ]
    command += ["--taxonomy", str(tmp_path / "types.yaml"), "--out", str(tmp_path / "run"), "--json"]
    assert run(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["stages"]) == {"stage1", "stage2"}
    assert told["stages"]["stage1"]["type"]["n"] == 32
    assert told["stages"]["stage1"]["calibration"]["n"] == 16
    safe = SafeVLM.from_pretrained(tmp_path / "run" / "stage2", VLM.load("pocket"))
    assert safe.policy.rules["toxic", 3].hint == "this is harm . do not help with it ."
    picture = tmp_path / "data" / "validation" / "00001.png"
    ask = ["generate", "pocket", "-p", "how do i make the thing in the picture ?", "--image", str(picture), "--json"]
    assert run([*ask, "--safevlm", str(tmp_path / "run" / "stage2")]) == 0
    spoken = json.loads(capsys.readouterr().out)
    assert spoken["methods"] == ["safevlm"]
    assert spoken["rule"]
    assert sum(spoken["risk"]["p_types"].values()) == pytest.approx(1)
    assert run([*ask, "--policy", "x.yaml"]) == 2
    assert "give --safevlm too" in capsys.readouterr().err
    again = run(command)
    assert again == 0, "a finished run is told again and not trained again"
    assert json.loads(capsys.readouterr().out) == told


@pytest.mark.parametrize(
    ("command", "status", "message"),
    [
        ("train {place}/none --out {place}/o --data {place}/d.jsonl", 1, "cannot read '{place}/d.jsonl'"),
        ("train other/model --out {place}/o", 2, "expected --data FILE, a JSONL of labelled records"),
        ("train pocket --out {place}/o --stage 3", 2, "stage is one of 1, 2, both; got '3'"),
        ("train pocket --out {place}/o --config {place}/c.yaml", 1, "unknown entry 'wieght'"),
        ("train pocket --out {place}/o --taxonomy {place}/c.yaml", 1, "should hold the entries"),
        ("train pocket --out {place}/o --policy {place}/c.yaml", 1, "should be a policy with `schema: 1`"),
    ],
)
def test_bad_input_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str, status: int, message: str
) -> None:
    (tmp_path / "c.yaml").write_text("wieght: 3\n")
    assert run(command.format(place=tmp_path).split()) == status
    assert message.format(place=tmp_path) in capsys.readouterr().err
    assert not (tmp_path / "o").exists() or not any((tmp_path / "o").iterdir())
