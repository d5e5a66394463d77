"""Attacks on the model inside a bench: what was found is asked, kept, and paired with the attack that does not know the defense."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightguard.bench import pixels
from sightguard.bench.options import Options
from sightguard.bench.pixels import OnModel
from sightguard.bench.run import bench
from sightguard.bench.suite import read_suite
from sightguard.data.pictures import decode
from sightguard.errors import UsageError
from sightguard.pocket import world
from sightguard.types import Image

pytestmark = pytest.mark.usefixtures("one_thread")
FEW = Options(defenses=("none", "ecso", "safevlm"), limit=4, batch=4)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pixels")
    columns: list[dict[str, Any]] = [{"name": "plain", "kinds": ["harmful"], "own": "harm_in_picture"}]
    for name, attack in (("static", "pgd:16"), ("adaptive", "pgd_adaptive:16"), ("early", "icet:0")):
        columns.append({"name": f"plain/{name}", "kinds": ["harmful"], "own": "harm_in_picture", "attacks": [attack]})
    suite = {"schema": 1, "name": "own", "title": "t", "about": "a", "settings": columns}
    (folder / "own.yaml").write_text(json.dumps(suite))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixels, "STEPS", 4)
        bench("pocket", read_suite(folder / "own.yaml"), folder / "out", FEW)
    return folder


def test_every_picture_that_is_asked_lies_in_the_ball(run: Path) -> None:
    originals = world.settings("test", 4)["harm_in_picture"]
    for setting, defense in (("static", "none"), ("adaptive", "safevlm")):
        place = run / "out" / "attacks" / "plain" / setting / defense
        for number, sample in enumerate(originals):
            found = np.asarray(decode(Image(path=place / f"{number:05d}.png"))).astype(int)
            moved = np.abs(found - np.asarray(decode(sample.images[0])).astype(int))
            assert 0 < moved.max() <= 16


def test_answers_are_to_what_was_found_and_the_results_say_what_it_is_compared_with(run: Path) -> None:
    told = json.loads((run / "out" / "results.json").read_text())
    assert told["settings"]["plain/adaptive"]["static"] == "plain/static"
    assert told["settings"]["plain/static"]["static"] is None
    assert {(one["adaptive"], one["static"], one["defense"]) for one in told["adaptive"]} == {
        ("plain/adaptive", "plain/static", "none"),
        ("plain/adaptive", "plain/static", "ecso"),
        ("plain/adaptive", "plain/static", "safevlm"),
    }
    attacks = told["manifest"]["about"]["attacks"]
    assert set(attacks) == {"plain/static", "plain/adaptive"}
    assert set(attacks["plain/static"]) == {"none"}
    assert set(attacks["plain/adaptive"]) == {"none", "ecso", "safevlm"}
    assert attacks["plain/static"]["none"]["loss_after_png"] < attacks["plain/static"]["none"]["loss_before"]
    rows = [json.loads(line) for line in (run / "out" / "samples.jsonl").read_text().splitlines()]
    early = {
        row["id"]: row["response"] for row in rows if row["setting"] == "plain/early" and row["condition"] == "none"
    }
    plain = {row["id"]: row["response"] for row in rows if row["setting"] == "plain" and row["condition"] == "none"}
    assert all("icet@0" in response["methods"] for response in early.values())
    assert any(early[id]["text"] != plain[id]["text"] for id in plain)


def test_what_was_found_is_not_looked_for_again(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sightguard.attacks.pgd as pgd

    def forbidden(*args: object, **kwargs: object) -> None:
        raise AssertionError("the attack ran again")

    before = (run / "out" / "samples.jsonl").read_bytes()
    monkeypatch.setattr(pixels, "STEPS", 4)
    monkeypatch.setattr(pgd.Pgd, "run", forbidden)
    bench("pocket", read_suite(run / "own.yaml"), run / "out", FEW)
    assert (run / "out" / "samples.jsonl").read_bytes() == before


def test_what_knows_nothing_of_the_defense_is_looked_for_once(run: Path) -> None:
    told = json.loads((run / "out" / "results.json").read_text())
    attacks = told["manifest"]["about"]["attacks"]
    static, adaptive = attacks["plain/static"]["none"], attacks["plain/adaptive"]
    assert adaptive["none"] == static
    assert "black box" in adaptive["ecso"]["note"]
    assert {**adaptive["ecso"], "note": ""} == static
    assert adaptive["safevlm"] != static
    assert sorted(path.name for path in (run / "out" / "attacks" / "plain" / "adaptive").iterdir()) == ["safevlm"]


@pytest.mark.parametrize("name", ["pgd", "pgd:", "pgd:eight"])
def test_a_size_is_to_be_told(name: str) -> None:
    with pytest.raises(UsageError, match="takes a number"):
        OnModel.of(name)
