"""`sightguard methods`: what there is to choose from."""

from __future__ import annotations

from dataclasses import asdict
from typing import get_args

from sightguard import catalog
from sightguard.cli.console import Json, print_json, print_table


def methods(json: Json = False) -> None:
    """List the methods, what has to be trained, and the baselines; then what the bench takes too: defenses, attacks and judges; with their papers."""
    kinds = get_args(catalog.Kind)
    entries = [(kind, name, entry) for kind in kinds for name, entry in catalog.known(kind).items()]
    if json:
        print_json([{"kind": kind, "name": name, **asdict(entry)} for kind, name, entry in entries])
        return
    rows = [(kind, name, entry.summary, entry.paper) for kind, name, entry in entries]
    print_table(("kind", "name", "what it does", "paper"), rows)
