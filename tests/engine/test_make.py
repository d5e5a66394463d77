"""What is wrong with a server is found before its model is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sightguard.engine.make import Make
from sightguard.errors import ArtifactError, DataError, OutputError, SightguardError, UsageError
from sightguard.serve.settings import Settings


@pytest.mark.parametrize(
    ("given", "kind", "why"),
    [
        ({"model": "my/model"}, UsageError, "served without a guard"),
        ({"guard": "nowhere"}, ArtifactError, "nowhere"),
        ({"safevlm": "nowhere"}, ArtifactError, "nowhere"),
        ({"policy": Path("nowhere.yaml")}, DataError, "nowhere.yaml"),
        ({"audit": Path("/proc/nowhere/audit.jsonl")}, OutputError, "audit log"),
        ({"settings": Settings(image_hosts=("http://x",))}, UsageError, "a host that pictures may be fetched from"),
    ],
)
def test_a_mistake_is_told_before_a_model_is_loaded(
    given: dict[str, Any], kind: type[SightguardError], why: str
) -> None:
    told: list[str] = []
    make = Make(**{"model": "pocket", "settings": Settings(), **given})
    with pytest.raises(kind, match=why):
        make(lambda stage, done, total: told.append(stage))
    assert told == []


def test_what_can_be_meant_passes(tmp_path: Path) -> None:
    Make(model="pocket", settings=Settings(image_hosts=("example.org",)), audit=tmp_path / "audit.jsonl").check()
