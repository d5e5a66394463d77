"""`sightguard doctor`: whether this computer can run Sightguard."""

from __future__ import annotations

from dataclasses import asdict

import typer

from sightguard import environment
from sightguard.cli.console import Json, print_json, print_table


def doctor(json: Json = False) -> None:
    """Check Python, torch, transformers, the device, memory and disk; status 1 if something stands in the way."""
    checks = environment.examine()
    failed = environment.failed(checks)
    if json:
        print_json({"ok": not failed, "checks": [asdict(check) for check in checks]})
    else:
        print_table(("check", "status", "found", "what to do"), [(c.name, c.status, c.found, c.advice) for c in checks])
    raise typer.Exit(1 if failed else 0)
