"""An audit of a synthetic corpus of 5,000 pairs: what was planted against what was found, killed and resumed, and on Ray.

    python -m scripts.audits [--pairs 5000] [--out results/audit.json]

Ends with an error where a row of a resumed run, or of the run on Ray, is not the row of the uninterrupted one.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from scripts.audit_corpus import write_corpus
from scripts.provenance import provenance
from sightguard.artifacts import write_json
from sightguard.audit.results import rows
from sightguard.audit.score import score

SHARD = 500
KILLS = {"once all items are found": 0, "after two shards": 2, "after six shards": 6}
"""Where a run is killed: as soon as so many shards are written."""


def command(corpus: Path, out: Path, *more: str) -> list[str]:
    where = ["--images", str(corpus / "images"), "--out", str(out), "--shard", str(SHARD), "--json"]
    return [sys.executable, "-m", "sightguard", "audit", str(corpus / "corpus.json"), *where, *more]


def whole(corpus: Path, out: Path, *more: str) -> float:
    """Run an audit to its end, and return its seconds."""
    began = time.monotonic()
    subprocess.run(command(corpus, out, *more), check=True, capture_output=True)
    return time.monotonic() - began


def killed(corpus: Path, out: Path, shards: int) -> int:
    """Kill a run once so many shards are written; return how many were there when it had died."""
    process = subprocess.Popen(command(corpus, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (out / "index.json").is_file() or len(list((out / "items").glob("0*.parquet"))) < shards:
        if process.poll() is not None:
            raise SystemExit("the audit ended before it could be killed")
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return len(list((out / "items").glob("0*.parquet")))


def same(out: Path, other: Path) -> int:
    """Return how many rows two audits have; every row and every list must be the same."""
    there = 0
    for one, two in zip(rows(out), rows(other), strict=True):
        if one != two:
            raise SystemExit(
                f"row {one['row']} of {other} differs: {[(k, one[k], two[k]) for k in one if one[k] != two[k]]}"
            )
        there += 1
    for name in ("kept.txt", "flagged.txt", "unjudged.txt"):
        if (out / name).read_text() != (other / name).read_text():
            raise SystemExit(f"{name} of {other} differs")
    return there


def planted(truth: dict[str, Any], out: Path) -> dict[str, Any]:
    """Return what became of everything that was planted."""
    found = {row["id"]: row for row in rows(out)}

    def repeated(id: str, first: str) -> bool:
        return found[id]["duplicate_of"] in (first, found[first]["duplicate_of"])

    faults = {id: found[id]["status"] for id in truth["faults"]}
    unjudged = {id for id, row in found.items() if row["status"] != "ok"}
    return {
        "pairs": len(found),
        "faults": {"planted": len(faults), "unjudged": sum(status != "ok" for status in faults.values())},
        "unjudged_without_fault": len(unjudged - set(faults)),
        "statuses": dict(Counter(f"{truth['faults'][id]}: {status}" for id, status in faults.items())),
        "exact": {
            "planted": len(truth["exact"]),
            "found": sum(found[id]["duplicate_kind"] == "exact" for id in truth["exact"]),
        },
        "near": {"planted": len(truth["near"]), "found": sum(repeated(*pair) for pair in truth["near"].items())},
        "licences": {
            "planted": len(truth["licences"]),
            "kept": sum(found[id]["licence"] == told for id, told in truth["licences"].items()),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5000)
    parser.add_argument("--out", type=Path, default=Path("results/audit.json"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        truth = write_corpus(folder / "corpus", given.pairs)
        seconds = whole(folder / "corpus", folder / "whole")
        print(f"uninterrupted: {seconds:.0f} s", flush=True)
        results: dict[str, Any] = {
            "schema": 1,
            "planted": planted(truth, folder / "whole"),
            "seconds": round(seconds, 1),
            "killed": {},
        }
        for number, (point, shards) in enumerate(KILLS.items()):
            out = folder / f"killed{number}"
            there = killed(folder / "corpus", out, shards)
            whole(folder / "corpus", out)
            results["killed"][point] = {"shards_there": there, "rows_equal": same(folder / "whole", out)}
            print(point, results["killed"][point], flush=True)
        whole(folder / "corpus", folder / "ray", "--ray")
        results["ray"] = {"rows_equal": same(folder / "whole", folder / "ray")}
        print("ray", results["ray"], flush=True)
        labels = folder / "labels.json"
        labels.write_text(json.dumps([{"id": id, "type": kind} for id, kind in truth["types"].items()]))
        results["score"] = score(labels, folder / "whole")
    write_json(given.out, {**results, "provenance": provenance()})


if __name__ == "__main__":
    main()
