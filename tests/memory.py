"""What a piece of code adds to the memory of a process of its own, at its highest: Pillow's pixels are seen, as tracemalloc does not see them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.conftest import ROOT

MEASURED = """
import sys
from pathlib import Path

def told(name):
    status = Path("/proc/self/status").read_text()
    return int(status.split(name + ":")[1].split()[0]) * 1024

before = None

def begin():
    global before
    Path("/proc/self/clear_refs").write_text("5")  # the mark of the highest begins anew
    before = before or told("VmRSS")

def end():
    print("grown", told("VmHWM") - before)
"""


def grown(code: str, *given: str | Path) -> int:
    """Return by how many bytes the memory of a process grew between `begin()` and `end()`, at its highest.

    Args:
        code: Python that calls both; `sys.argv[1:]` is what is given.
        given: to the code.
    """
    (found,) = each_grown(code, *given)
    return found


def each_grown(code: str, *given: str | Path) -> list[int]:
    """Return the same for code that calls them several times: each counted from the first `begin()`."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT))), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", MEASURED + textwrap.dedent(code), *map(str, given)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return [int(found) for found in re.findall(r"^grown (\d+)$", done.stdout, re.MULTILINE)]
