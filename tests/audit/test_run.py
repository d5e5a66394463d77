"""An audit accounts for every item, and one that was broken off ends as if it had not been."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from sightguard.artifacts import LOCK
from sightguard.audit.results import rows
from sightguard.audit.rule import Rule
from sightguard.audit.run import Scale, audit
from sightguard.audit.sources.opened import Data
from sightguard.errors import DataError, OutputError
from tests.audit import made

POINTS = ["in a batch", "while a shard is written", "while duplicates are marked"]


@pytest.fixture
def data(tmp_path: Path) -> Data:
    """Twenty pairs: bright and dark ones, a repeated one, and one of each fault."""
    path = made.llava(tmp_path, 16, license="CC0")
    listed = json.loads(path.read_text())
    images = tmp_path / "images"
    (images / "again.png").write_bytes((images / "train/003.png").read_bytes())
    (images / "short.png").write_bytes((images / "train/003.png").read_bytes()[:200])
    (images / "narrow.png").write_bytes(made.encoded(made.picture(5, size=(1, 400))))
    again = {"id": "again", "image": "again.png", "text": "the same"}
    undecided = {"id": "undecided", "image": "train/001.png", "text": "?"}
    broken = [{"id": name, "image": f"{name}.png"} for name in ("short", "narrow", "gone")]
    path.write_text(json.dumps([*listed, again, undecided, *broken, {"id": "words", "text": "no picture"}]))
    return Data(roots=(str(path),), images=str(images))


def done(data: Data, out: Path, *, batch: int = 4, **options: Any) -> list[dict[str, Any]]:
    audit(data, made.ByBrightness(batch), out, scale=Scale(shard=6), **options)
    return list(rows(out))


def listed(out: Path, name: str) -> list[list[str]]:
    heading, *lines = (out / f"{name}.txt").read_text().splitlines()
    assert heading.startswith("# ")
    return [line.split("\t") for line in lines]


def test_every_item_is_accounted_for(data: Data, tmp_path: Path) -> None:
    found = {row["id"]: row for row in done(data, tmp_path / "out")}
    assert len(found) == 22
    assert [row["row"] for row in found.values()] == list(range(22))
    status = {id: row["status"] for id, row in found.items() if row["status"] != "ok"}
    assert status == {
        "undecided": "undecided",
        "short": "unreadable",
        "narrow": "unreadable",
        "gone": "unreadable",
        "words": "no picture",
    }
    assert "too narrow" in found["narrow"]["error"]
    assert (
        found["gone"]["error"]
        == "gone.png: there is no such file; check the path and the folder that names are relative to (--images)"
    )
    assert (found["p0"]["type"], found["p0"]["level"], found["p1"]["type"]) == ("bright", 2, "safe")
    assert found["p0"]["p_unsafe"] == pytest.approx(found["p0"]["p_type_bright"], abs=1e-7)
    assert (found["again"]["duplicate_of"], found["again"]["duplicate_kind"]) == ("p3", "exact")
    assert found["undecided"]["duplicate_of"] == "p1"
    lists = [{line[0] for line in listed(tmp_path / "out", name)} for name in ("kept", "flagged", "unjudged")]
    assert set.union(*lists) == set(found)
    assert sum(map(len, lists)) == len(found)
    assert lists[1] == {"again", *(f"p{i}" for i in range(0, 16, 3))}
    assert lists[2] == set(status)


def test_the_summary_counts_what_is_there(data: Data, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = audit(data, made.ByBrightness(), out, scale=Scale(shard=6))
    assert told == json.loads((out / "summary.json").read_text())
    assert (told["items"], told["kept"], told["flagged"], told["unjudged"]) == (22, 10, 7, 5)
    assert told["status"] == {"ok": 17, "undecided": 1, "unreadable": 3, "no picture": 1}
    assert told["types"] == {
        "bright": {"0": 0, "1": 0, "2": 7},
        "dim": {"0": 0, "1": 0, "2": 0},
        "safe": {"0": 10, "1": 0, "2": 0},
    }
    assert told["licences"] == {"CC0": {"items": 16, "flagged": 6}, "not stated": {"items": 6, "flagged": 1}}
    assert told["duplicates"] == {"exact": 2, "near": 0}
    assert [one["id"] for one in told["errors"]] == ["undecided", "short", "narrow", "gone", "words"]


def test_the_rule_may_change_without_a_second_look(data: Data, tmp_path: Path) -> None:
    done(data, tmp_path / "out")
    told = audit(
        data,
        made.ByBrightness(),
        tmp_path / "out",
        rule=Rule(threshold=0.1, min_level=1, drop_duplicates=True),
        scale=Scale(shard=6),
    )
    assert told["looked_at_now"] == 0
    flagged = dict(listed(tmp_path / "out", "flagged"))
    assert flagged["p0"].startswith("bright, level 2: p_unsafe 0.7")
    assert set(flagged) == {"again", *(f"p{i}" for i in range(0, 16, 3))}
    told = audit(
        data,
        made.ByBrightness(),
        tmp_path / "out",
        rule=Rule(threshold=1, drop_duplicates=True),
        scale=Scale(shard=6),
    )
    assert listed(tmp_path / "out", "flagged") == [["again", "exact duplicate of p3"]]


@pytest.mark.parametrize("batch", [1, 3, 50])
def test_batches_and_threads_change_no_row(data: Data, tmp_path: Path, batch: int) -> None:
    plain = done(data, tmp_path / "a")
    audit(data, made.ByBrightness(batch), tmp_path / "b", scale=Scale(shard=6, readers=1 + batch % 3))
    assert list(rows(tmp_path / "b")) == plain


@pytest.mark.parametrize("point", POINTS)
def test_killed_and_taken_up_again_it_ends_the_same(data: Data, tmp_path: Path, point: str) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.audit.killed",
        data.roots[0],
        str(data.images),
        str(tmp_path / "killed"),
        point,
    ]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    there = sorted(path.name for path in (tmp_path / "killed" / "items").glob("[0-9]*"))
    assert there == {POINTS[0]: ["00000.parquet"], POINTS[1]: ["00000.parquet", "00001.parquet"]}.get(
        point, [f"0000{i}.parquet" for i in range(4)]
    )
    assert done(data, tmp_path / "killed") == done(data, tmp_path / "whole")
    for name in ("kept", "flagged", "unjudged"):
        assert listed(tmp_path / "killed", name) == listed(tmp_path / "whole", name)


def test_a_shard_that_was_deleted_or_damaged_is_made_again(data: Data, tmp_path: Path) -> None:
    before = done(data, tmp_path / "out")
    (tmp_path / "out/items/00001.parquet").unlink()
    (tmp_path / "out/items/00002.parquet").write_bytes(b"PAR1")
    told = audit(data, made.ByBrightness(), tmp_path / "out", scale=Scale(shard=6))
    assert told["looked_at_now"] == 12
    assert list(rows(tmp_path / "out")) == before


def test_what_was_undecided_can_be_asked_again(data: Data, tmp_path: Path) -> None:
    done(data, tmp_path / "out")
    again = audit(data, made.ByBrightness(), tmp_path / "out", retry=True, scale=Scale(shard=6))
    assert (again["looked_at_now"], again["status"]["undecided"]) == (6, 1)
    assert list(rows(tmp_path / "out"))[16]["duplicate_of"] == "p3"


def test_another_configuration_is_refused_and_named(data: Data, tmp_path: Path) -> None:
    done(data, tmp_path / "out")
    with pytest.raises(
        OutputError, match=r"another configuration: near: 4 there, 2 now; shard: 6 there, 5 now\. Name another"
    ):
        audit(data, made.ByBrightness(), tmp_path / "out", near=2, scale=Scale(shard=5))
    with pytest.raises(OutputError, match=r"data\.split: None there, 'test' now"):
        audit(
            Data(roots=data.roots, images=data.images, split="test"),
            made.ByBrightness(),
            tmp_path / "out",
            scale=Scale(shard=6),
        )


def test_two_audits_do_not_write_to_one_folder(data: Data, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / LOCK), pytest.raises(OutputError, match="another audit is writing"):
        done(data, tmp_path / "out")
    assert len(done(data, tmp_path / "out")) == 22


def test_a_folder_of_something_else_is_left_alone(data: Data, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("x")
    with pytest.raises(OutputError, match=r"thesis\.tex"):
        done(data, tmp_path / "out")


def test_nothing_to_audit(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.mp4").write_bytes(b"x")
    with pytest.raises(DataError, match=r"nothing to audit in .*there are 1 \.mp4"):
        audit(Data(roots=(str(tmp_path / "empty"),)), made.ByBrightness(), tmp_path / "out")
    (tmp_path / "none.json").write_text("[]")
    with pytest.raises(DataError, match="nothing to audit"):
        audit(Data(roots=(str(tmp_path / "none.json"),)), made.ByBrightness(), tmp_path / "out2")


def test_a_full_disk_is_told_and_what_was_written_stays(data: Data, tmp_path: Path) -> None:
    out = tmp_path / "out"
    limited = (
        "import resource, signal, sys\n"
        "from tests.audit import killed, made\n"
        "from sightguard.audit.run import Scale, audit\n"
        "from sightguard.audit.sources.opened import Data\n"
        "from sightguard.audit import look\n"
        "from sightguard.audit.index import write_parquet\n"
        "def limited(path, table):\n"
        "    if path.name == '00002.parquet':\n"
        "        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "    write_parquet(path, table)\n"
        "look.write_parquet = limited\n"
        "audit(Data(roots=(sys.argv[1],), images=sys.argv[2]), made.ByBrightness(), sys.argv[3], scale=Scale(shard=6))\n"
    )
    command = [sys.executable, "-c", limited, data.roots[0], str(data.images), str(out)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "OutputError: cannot write to" in told.stderr.splitlines()[-1]
    assert "00002.parquet" in told.stderr
    assert sorted(path.name for path in (out / "items").iterdir()) == ["00000.parquet", "00001.parquet"]
    assert done(data, out) == done(data, tmp_path / "whole")
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000
