"""Run the command as a user does: another process, its own stdout, stderr and status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple


class Outcome(NamedTuple):
    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


def hears_ctrl_c() -> None:
    """Pass as `preexec_fn`: tests that were started in the background of a shell inherit a SIGINT that is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def sightguard(*arguments: str, folder: Path | None = None) -> Outcome:
    """Run `python -m sightguard` with these arguments."""
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "120"}
    command = [sys.executable, "-m", "sightguard", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    return Outcome(done.returncode, done.stdout, done.stderr)
