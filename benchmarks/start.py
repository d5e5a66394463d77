"""How long the program takes to start, against Python itself."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python": ["-c", "pass"],
    "import sightguard": ["-c", "import sightguard"],
    "sightguard --help": ["-m", "sightguard", "--help"],
}


def start(rounds: int) -> dict[str, float]:
    """Return the median seconds of each command over rounds in which they take turns, after one warm-up."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(rounds + 1):
        for name, arguments in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
            if number:
                times[name].append(time.perf_counter() - began)
    return {name: statistics.median(found) for name, found in times.items()}
