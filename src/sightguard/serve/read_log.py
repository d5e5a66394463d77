"""An audit log read back: every file of it, oldest first.

for line in read_log(Path("audit.jsonl")): print(line["id"], line["outcome"])
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any


def read_log(path: Path, *, broken: Callable[[str], None] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the lines of a log, oldest file first.

    Args:
        path: of the newest file.
        broken: called with "file:line" for each line that is no JSON object (a power cut tore it); those are left out.
    """
    numbered = [
        name for name in path.parent.glob(f"{path.name}.*") if name.name.removeprefix(f"{path.name}.").isdecimal()
    ]
    files = sorted(numbered, key=lambda name: -int(name.name.rsplit(".", 1)[-1]))
    for file in (*files, *([path] if path.exists() else [])):
        with file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                value = _value(line)
                if value is not None:
                    yield value
                elif broken is not None:
                    broken(f"{file}:{number}")


def _value(line: bytes) -> dict[str, Any] | None:
    with suppress(ValueError):
        value = json.loads(line)
        if line.endswith(b"\n") and isinstance(value, dict):
            return value
    return None
