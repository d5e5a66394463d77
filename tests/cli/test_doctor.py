from __future__ import annotations

import sys
from types import ModuleType

import pytest

from sightguard import environment
from sightguard.cli import app
from tests.cli.command import sightguard


def test_doctor_finds_this_environment_good() -> None:
    done = sightguard("doctor", "--json")
    assert done.status == 0
    assert done.json["ok"] is True
    names = [check["name"] for check in done.json["checks"]]
    assert names == list(environment.CHECKS)
    assert all(check["found"] for check in done.json["checks"])


def test_doctor_fails_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    finding = environment.Check("torch", "fail", "1.0", "pip install 'torch>=2.6'")
    monkeypatch.setattr(environment, "CHECKS", {"torch": lambda: finding})
    with pytest.raises(SystemExit) as ended:
        app.main(["doctor"])
    assert ended.value.code == 1
    assert "pip install 'torch>=2.6'" in capsys.readouterr().out


def test_an_old_torch_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    old = ModuleType("torch")
    old.__version__ = "2.5.1"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", old)
    assert environment.check_torch().status == "fail"


def test_a_check_that_crashes_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> environment.Check:
        raise RuntimeError("operator torchvision::nms does not exist\nmore")

    monkeypatch.setattr(environment, "CHECKS", {"torchvision": broken})
    (check,) = environment.examine()
    assert (check.status, check.found) == ("fail", "RuntimeError: operator torchvision::nms does not exist")
    assert environment.failed([check])
