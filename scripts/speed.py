"""How long the embedded model takes to answer, as the package carries it: written from results/ into sightguard/bench/speed.json.

python -m scripts.speed
"""

from __future__ import annotations

from typing import Any

from scripts.provenance import ROOT
from sightguard.artifacts import read_json, write_json
from sightguard.bench.speed import MEASURED

RUNNER, SUITE = "results/runner-cpu.json", "results/suite-pocket.json"


def figures() -> dict[str, Any]:
    """Return what the results say: prompts a second of the undefended model, and what each defense takes beside it."""
    runner, suite = read_json(ROOT / RUNNER), read_json(ROOT / SUITE)
    return {
        "schema": 1,
        "sources": [RUNNER, SUITE],
        "model": suite["model"],
        "machine": runner["machine"],
        "prompts_per_second": round(runner["runner_samples_per_second"], 1),
        "gradient_seconds": round(runner["gradient_seconds"], 4),
        "seconds_ratio": {name: round(told["seconds_ratio"], 2) for name, told in suite["cost"].items()},
    }


if __name__ == "__main__":
    write_json(MEASURED, figures())
