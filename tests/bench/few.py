"""A small run."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sightguard.bench.suite import Column, Suite

DEFENSES = ("none", "safevlm")
LIMIT = 6

ATTACKED = Suite(
    name="attacked",
    title="t",
    about="a",
    settings=tuple(
        Column(name=f"plain/{name}", kinds=("harmful",), own="harm_in_picture", attacks=(attack,))
        for name, attack in (("static", "pgd:16"), ("adaptive", "pgd_adaptive:16"))
    ),
)
STEPS = 2
"""Of its attacks."""


def files(folder: Path) -> dict[str, str]:
    """Every file below a folder, with a digest of what it holds."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}
