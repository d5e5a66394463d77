"""The most memory that a process ever held."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_mib() -> float:
    """Return the most memory that this process ever held.

    Linux hands `ru_maxrss` on from the process that starts another, so the process's own high-water mark is read where there is one.
    """
    if STATUS.is_file():
        return of_status("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def resident_mib(process: int | None = None) -> float:
    """Return what a process holds now, this one by default; Linux only."""
    return of_status("VmRSS", STATUS if process is None else Path(f"/proc/{process}/status"))


def of_status(name: str, status: Path = STATUS) -> float:
    """Return one entry of the status of a process, in MiB."""
    (line,) = (line for line in status.read_text(encoding="ascii").splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024
