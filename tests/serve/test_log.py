from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sightguard.errors import OutputError, UsageError
from sightguard.serve.log import AuditLog
from sightguard.serve.read_log import read_log
from tests.serve import log_child
from tests.serve.log_child import LINE, entry

CHILD = [sys.executable, str(Path(log_child.__file__))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def ids(path: Path, broken: list[str] | None = None) -> list[str]:
    return [line["id"].rstrip(".") for line in read_log(path, broken=None if broken is None else broken.append)]


def whole(path: Path) -> list[str]:
    """The ids of a log in which no line is broken."""
    broken: list[str] = []
    found = ids(path, broken)
    assert broken == []
    return found


def test_a_line_is_one_write_to_a_file_of_the_owner(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[bytes] = []
    real = os.write

    def seen(file: int, data: bytes) -> int:
        assert fcntl.fcntl(file, fcntl.F_GETFL) & os.O_APPEND
        writes.append(bytes(data))
        return real(file, data)

    monkeypatch.setattr(os, "write", seen)
    before = os.umask(0)
    try:
        log = AuditLog(path)
        for number in range(3):
            log.write(entry(str(number)))
    finally:
        os.umask(before)
    assert b"".join(writes) == path.read_bytes()
    assert [len(data) for data in writes] == [LINE] * 3
    assert {stat.S_IMODE(name.stat().st_mode) for name in path.parent.iterdir()} == {0o600}


def test_a_file_that_others_can_read_is_closed_to_them(path: Path) -> None:
    path.write_text("")
    path.chmod(0o644)
    AuditLog(path).write(entry("a"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_full_files_are_renamed_and_the_oldest_goes(path: Path) -> None:
    log = AuditLog(path, max_bytes=2 * LINE, keep=2)
    for number in range(9):
        log.write(entry(str(number)))
    assert {name.name: name.stat().st_size for name in path.parent.iterdir()} == {
        "audit.jsonl": LINE,
        "audit.jsonl.1": 2 * LINE,
        "audit.jsonl.2": 2 * LINE,
        "audit.jsonl.lock": 0,
    }
    assert whole(path) == ["4", "5", "6", "7", "8"]


def test_a_gap_is_filled_before_a_file_is_dropped(path: Path) -> None:
    log = AuditLog(path, max_bytes=LINE, keep=3)
    for number in range(4):
        log.write(entry(str(number)))
    path.with_name("audit.jsonl.2").unlink()
    log.write(entry("4"))
    assert whole(path) == ["0", "2", "3", "4"]


def test_a_line_that_is_longer_than_a_file_has_one_to_itself(path: Path) -> None:
    log = AuditLog(path, max_bytes=10, keep=5)
    for name in "abc":
        log.write(entry(name))
    assert whole(path) == ["a", "b", "c"]
    assert path.stat().st_size == LINE


def test_a_file_of_ten_or_more_is_read_in_its_turn(path: Path) -> None:
    log = AuditLog(path, max_bytes=LINE, keep=12)
    for number in range(13):
        log.write(entry(str(number)))
    path.with_name("audit.jsonl.gz").write_bytes(b"no file of the log")
    assert whole(path) == [str(number) for number in range(13)]


@pytest.mark.parametrize("tail", [b'{"id":"torn', b"\xff\x00", b'{"id":"whole but without its end"}'])
def test_after_a_torn_line_the_next_begins_on_a_line_of_its_own(path: Path, tail: bytes) -> None:
    log = AuditLog(path)
    log.write(entry("before"))
    with path.open("ab") as file:
        file.write(tail)
    broken: list[str] = []
    assert ids(path, broken) == ["before"]
    assert broken == [f"{path}:2"]
    log.write(entry("after"))
    log.write(entry("last"))
    assert [name for name in ids(path) if "whole" not in name] == ["before", "after", "last"]
    assert path.read_bytes().count(b"\n") == 4


def test_threads_lose_no_line_when_files_are_rotated(path: Path) -> None:
    log = AuditLog(path, max_bytes=3 * LINE, keep=1000)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: log.write(entry(str(number))), range(200)))
    assert Counter(whole(path)) == Counter(str(number) for number in range(200))


def test_processes_lose_no_line_when_files_are_rotated(path: Path) -> None:
    children = [
        subprocess.Popen([*CHILD, "write", str(path), f"p{n}", "100"], stdout=subprocess.DEVNULL) for n in range(3)
    ]
    assert [child.wait(60) for child in children] == [0, 0, 0]
    found = whole(path)
    assert Counter(found) == Counter(f"p{n}-{number}" for n in range(3) for number in range(100))
    for n in range(3):
        mine = [name for name in found if name.startswith(f"p{n}-")]
        assert mine == sorted(mine, key=lambda name: int(name.split("-")[1]))
    sizes = [name.stat().st_size for name in path.parent.glob("audit.jsonl*") if not name.name.endswith("lock")]
    assert max(sizes) <= 4 * LINE


@pytest.mark.parametrize("lines", [1, 4, 9, 60])
def test_sigkill_tears_no_line_and_loses_none_that_was_written(path: Path, lines: int) -> None:
    said: list[str] = []
    for name in ("first", "second"):
        with subprocess.Popen([*CHILD, "write", str(path), name, "0"], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            said += [child.stdout.readline().decode().strip() for _ in range(lines)]
            child.send_signal(signal.SIGKILL)
            said += child.stdout.read().decode().split()
        assert child.returncode == -signal.SIGKILL
    found = whole(path)
    assert len(said) >= 2 * lines
    assert [name for name in found if name in set(said)] == said
    assert len(found) - len(said) in (0, 1, 2)  # at most one more a kill: written, and not yet said
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("call", "at"), [("open", 2), ("write", 1), ("write", 6), ("close", 7), ("rename", 1), ("rename", 2), ("rename", 3)]
)
def test_a_kill_in_the_middle_of_a_line_or_a_rotation_leaves_a_log_that_goes_on(path: Path, call: str, at: int) -> None:
    call = "replace" if call == "rename" else call
    killed = subprocess.run([*CHILD, "kill", str(path), call, str(at)], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    said = killed.stdout.split()
    AuditLog(path, max_bytes=4 * LINE, keep=1000).write(entry("after"))
    found = whole(path)
    assert found[: len(said)] == said
    assert found[-1] == "after"
    assert len(found) - len(said) in (1, 2)


@pytest.mark.parametrize("room", [0, 1, LINE - 1])
def test_on_a_full_disk_a_required_line_refuses_and_leaves_no_half(path: Path, room: int) -> None:
    AuditLog(path).write(entry("before"))
    before = path.read_bytes()
    done = subprocess.run([*CHILD, "full", str(path), str(room)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"refused: cannot write to the audit log {path}: ")
    assert "lost: 2" in done.stdout
    assert done.stderr.count("the lines are lost") == 1
    assert path.read_bytes() == before
    AuditLog(path).write(entry("after"))
    assert whole(path) == ["before", "after"]


def test_a_half_that_cannot_be_taken_back_costs_itself_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AuditLog(path)
    log.write(entry("before"))

    def half(file: int, data: bytes, real: object = os.write) -> int:
        assert callable(real)
        return int(real(file, data[:100]))

    def stuck(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        patch.setattr(os, "ftruncate", stuck)
        with pytest.raises(OutputError, match="no room"):
            log.write(entry("lost"))
    log.write(entry("after"))
    broken: list[str] = []
    assert ids(path, broken) == ["before", "after"]
    assert broken == [f"{path}:2"]


def test_a_log_that_cannot_be_written_says_so_before_a_request_is_taken(path: Path) -> None:
    log = AuditLog(path, required=False)
    log.check()
    assert whole(path) == []
    for place in (path.parent / "absent" / "audit.jsonl", path.parent):
        with pytest.raises(OutputError):
            AuditLog(place, required=False).check()


def test_a_full_disk_is_seen_before_a_request_is_taken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs(path.parent)
    full = os.statvfs_result((*real[:4], 0, *real[5:]))
    monkeypatch.setattr(os, "statvfs", lambda _: full)
    with pytest.raises(OutputError, match="the disk is full"):
        AuditLog(path).check()


def test_neither_a_link_nor_a_pipe_is_written_to(path: Path) -> None:
    other = path.with_name("other")
    other.write_text("mine")
    path.symlink_to(other)
    with pytest.raises(OutputError):
        AuditLog(path).write(entry("a"))
    assert other.read_text() == "mine"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(OutputError, match="plain file"):
        AuditLog(path).write(entry("a"))


def test_a_process_that_holds_the_lock_for_ever_does_not_hang_the_others(path: Path) -> None:
    log = AuditLog(path, patience=0.05)
    log.write(entry("a"))
    with path.with_name("audit.jsonl.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="lock"):
            log.write(entry("b"))
    log.write(entry("c"))
    assert whole(path) == ["a", "c"]


def test_what_others_did_to_the_file_is_seen_at_the_next_line(path: Path) -> None:
    log = AuditLog(path)
    log.write(entry("a"))
    path.rename(path.with_name("taken"))
    log.write(entry("b"))
    assert whole(path) == ["b"]
    assert json.loads(path.with_name("taken").read_text())["id"].startswith("a.")


@pytest.mark.parametrize("limits", [{"max_bytes": 0}, {"keep": 0}])
def test_a_log_that_keeps_nothing_is_refused(path: Path, limits: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        AuditLog(path, **limits)
