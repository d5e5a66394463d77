"""The audit log: one JSON line for each request, appended whole, in files that are rotated by size.

    log = AuditLog(Path("audit.jsonl"))
    log.write(entry)    # sightguard.serve.entry; read again by sightguard.serve.read_log

Several processes of one computer may write into the same log. Each line is written under a lock (`flock` on `audit.jsonl.lock`), which the
system frees when a process dies; nothing is kept open between two lines, so a file that another process rotated is never written to.
The folder must be on a local disk: network file systems promise neither locks nor whole lines.
"""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sightguard.errors import OutputError, UsageError
from sightguard.serve.entry import Entry

_log = logging.getLogger(__name__)
_READ = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(slots=True)
class AuditLog:
    """A log that refuses to lose a line.

    Args:
        path: of the newest file; full ones are `path.1` (the youngest) to `path.<keep>`.
        max_bytes: when a file is full. A line that is longer has a file to itself.
        keep: full files that are kept; the oldest goes.
        content: write the texts of requests, and answers, too; pictures are never written.
        required: raise where a line cannot be written, so that nothing is answered that is not logged. Otherwise it is counted in `lost`.
        patience: seconds to wait for another process that holds the lock.
    """

    path: Path
    max_bytes: int = 64 * 2**20
    keep: int = 8
    content: bool = False
    required: bool = True
    patience: float = 5.0
    lost: int = field(default=0, init=False)
    _count: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.max_bytes < 1 or self.keep < 1:
            raise UsageError(
                f"a log needs at least 1 byte a file and 1 full file to keep; got {self.max_bytes} and {self.keep}"
            )

    def check(self) -> None:
        """Find out whether a line could be written now, without writing one; for the start, and before a request is taken.

        Raises:
            OutputError: it could not; whatever `required` says.
        """
        with self._errors(), self._locked(), self._opened():
            if os.statvfs(self.path.parent).f_bavail == 0:
                raise OSError("the disk is full")

    def write(self, entry: Entry) -> None:
        """Append one line.

        Raises:
            OutputError: it could not be written, and `required`. Nothing of it is in the file then.
        """
        line = entry.line(content=self.content)
        try:
            with self._errors(), self._locked():
                self._append(line)
        except OutputError as error:
            if self.required:
                raise
            with self._count:
                self.lost += 1
            if self.lost == 1:
                _log.error("%s Requests are answered all the same, and the lines are lost.", error)

    def _append(self, line: bytes) -> None:
        with self._opened() as file:
            size = os.fstat(file).st_size
            torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
            whole = b"\n" + line if torn else line
            if size == 0 or size + len(whole) <= self.max_bytes:
                _write(file, size, whole)
                return
        self._rotate()
        with self._opened() as file:
            _write(file, 0, line)

    def _rotate(self) -> None:
        names = [self.path, *(_numbered(self.path, number) for number in range(1, self.keep + 1))]
        # a gap (a process that died here, a file that somebody took away) is filled, so that nothing is dropped too early
        gap = next((number for number, name in enumerate(names) if number and not name.exists()), self.keep)
        for number in range(gap, 0, -1):
            names[number - 1].replace(names[number])

    @contextmanager
    def _opened(self) -> Iterator[int]:
        file = os.open(self.path, _READ | os.O_APPEND | os.O_NONBLOCK, 0o600)
        try:
            mode = os.fstat(file).st_mode
            if not stat.S_ISREG(mode):
                raise OSError("it is not a plain file")
            if stat.S_IMODE(mode) != 0o600:
                os.fchmod(file, 0o600)
            yield file
        finally:
            os.close(file)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # opened anew for each line: such a lock also keeps out other threads, and a fork does not share it
        file = os.open(self.path.with_name(f"{self.path.name}.lock"), _READ, 0o600)
        try:
            self._lock(file)
            yield
        finally:
            os.close(file)

    def _lock(self, file: int) -> None:
        until = time.monotonic() + self.patience
        while True:
            try:
                return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise OSError(f"another process has held its lock for {self.patience:g} s") from None
                time.sleep(0.001)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"cannot write to the audit log {self.path}: {error.strerror or error}. Free the disk, or name another file."
            ) from error


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _write(file: int, size: int, line: bytes) -> None:
    """Write a line at once; what was written by halves (a full disk) is taken back."""
    try:
        written = os.write(file, line)
    except OSError:
        _cut(file, size)
        raise
    if written != len(line):
        _cut(file, size)
        raise OSError("there is no room for another line")


def _cut(file: int, size: int) -> None:
    with suppress(
        OSError
    ):  # if it cannot be taken back, the next line begins on a new line, and readers leave the half out
        os.ftruncate(file, size)
