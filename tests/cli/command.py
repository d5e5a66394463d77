"""Run the command as a user does: another process, its own stdout, stderr and status."""

from __future__ import annotations

import json
import os
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


def sightguard(*arguments: str, folder: Path | None = None) -> Outcome:
    """Run `python -m sightguard` with these arguments."""
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "120"}
    command = [sys.executable, "-m", "sightguard", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    return Outcome(done.returncode, done.stdout, done.stderr)
