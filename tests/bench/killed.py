"""Bench in a process of its own that kills itself at a point: `python -m tests.bench.killed OUT POINT`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sightguard.artifacts import write_bytes
from sightguard.bench import answered, pixels, report
from sightguard.bench.options import Options
from sightguard.bench.run import bench
from sightguard.bench.suite import read_suite
from sightguard.evaluate.folder import RunFolder
from tests.bench.few import ATTACKED, DEFENSES, LIMIT, STEPS


def die(*args: Any, **kwargs: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    out, point = sys.argv[1:]
    if point == "in the first batch":
        answered.evaluate_to = die  # type: ignore[attr-defined]
    elif point == "while a line is written":
        written: list[int] = []
        whole = RunFolder.append

        def torn(self: RunFolder, rows: Sequence[Any]) -> None:
            written.append(1)
            if len(written) == 4:
                with (self.path / "samples.jsonl").open("ab") as file:
                    file.write(b'{"condition": "no')
                die()
            whole(self, list(rows))

        RunFolder.append = torn  # type: ignore[method-assign, assignment]
    elif point == "before the report":
        report.render_bench = die  # type: ignore[attr-defined]
    suite, limit = read_suite("quick"), LIMIT
    if point.startswith("the attack: "):
        suite, limit, pixels.STEPS = ATTACKED, 2, STEPS
        kept = list[Path]()

        def torn_picture(path: Path, data: bytes) -> None:
            write_bytes(path, data)
            kept.append(path)
            if len(kept) == int(point.rpartition(" ")[2]):
                die()

        pixels.write_bytes = torn_picture  # type: ignore[attr-defined]
    bench("pocket", suite, Path(out), Options(defenses=DEFENSES, limit=limit, batch=4, measure=suite != ATTACKED))
