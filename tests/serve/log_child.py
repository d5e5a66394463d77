"""A writer of an audit log in a process of its own.

python log_child.py write LOG NAME COUNT     writes COUNT lines of 1,024 bytes (0: for ever), and says the id of each once it is written
python log_child.py kill LOG CALL AT         the same, and ends itself by SIGKILL just before the AT-th call of os.CALL
python log_child.py full LOG ROOM            finds room for ROOM more bytes, and says how a line that must, and one that may be lost, fare
"""

from __future__ import annotations

import itertools
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from sightguard.errors import OutputError
from sightguard.serve.entry import Entry
from sightguard.serve.job import GuardId
from sightguard.serve.log import AuditLog

LINE = 1024


def entry(name: str) -> Entry:
    """One whose line has exactly 1,024 bytes, so that no line crosses a page of memory."""
    bare = Entry(id=name, route="/x", outcome="answered", status=200, guard=GuardId("g", "0" * 64), time=0.0)
    pad = LINE - len(bare.line(content=False))
    return Entry(
        id=name.ljust(len(name) + pad, "."), route="/x", outcome="answered", status=200, guard=bare.guard, time=0.0
    )


def write(log: AuditLog, name: str, count: int) -> None:
    for number in itertools.islice(itertools.count(), count or None):
        log.write(entry(f"{name}-{number}"))
        os.writev(1, [f"{name}-{number}\n".encode()])


def kill(log: AuditLog, call: str, at: int) -> None:
    real, calls = getattr(os, call), itertools.count(1)

    def counted(*given: Any, **named: Any) -> Any:
        if next(calls) == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*given, **named)

    setattr(os, call, counted)
    write(log, call, 12)


def full(path: Path, room: int) -> None:
    size = path.stat().st_size + room
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        AuditLog(path).write(entry("must"))
    except OutputError as error:
        sys.stdout.write(f"refused: {error}\n")
    log = AuditLog(path, required=False)
    log.write(entry("may"))
    log.write(entry("may"))
    sys.stdout.write(f"lost: {log.lost}\n")


def main(what: str, path: str, *rest: str) -> None:
    if what == "full":
        full(Path(path), int(rest[0]))
        return
    log = AuditLog(Path(path), max_bytes=4 * LINE, keep=1000)
    (write if what == "write" else kill)(log, rest[0], int(rest[1]))


if __name__ == "__main__":
    main(*sys.argv[1:])
