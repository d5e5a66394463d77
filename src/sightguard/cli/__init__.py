"""The command `sightguard`. One file a verb: parse, build, call, print; no logic, and no torch before it is needed."""

from __future__ import annotations

from sightguard.cli.app import main, run

__all__ = ["main", "run"]
