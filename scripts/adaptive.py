"""Static and adaptive PGD against every defense of the embedded models, as the suite pixels has it: results/adaptive.json, resumable.

Success is an answer by the grammar of the embedded model's judge. Nothing is chosen here. A test bench for methods, and no evidence about
large models.

python -m scripts.adaptive [MODEL ...] [--n 30] [--seed 1] [--runs FOLDER]
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from scripts.provenance import ROOT, provenance
from sightguard.artifacts import write_json
from sightguard.bench.options import Options
from sightguard.bench.pixels import STEPS
from sightguard.bench.run import bench
from sightguard.bench.suite import Suite, read_suite
from sightguard.pocket.locate import NAMES

DEFENSES = (
    "none",
    "self_reminder",
    "goal_priority",
    "adashield_s",
    "ecso",
    "vlm_guard",
    "vlm_guard_caption",
    "vlm_guard_null_space",
    "cmrm",
    "safevlm_stage1",
    "safevlm",
)


def suite(n: int) -> Suite:
    """Return the suite with `n` harmful prompts a setting, and its harmless ones as they are."""
    found = read_suite("pixels")
    settings = (replace(one, limit=n) if "harmful" in one.kinds else one for one in found.settings)
    return replace(found, settings=tuple(settings))


def measure(model: str, n: int, seed: int, runs: Path) -> dict[str, Any]:
    """Return what the table shows of one model; a run that was stopped is taken up again from its folder."""

    def show(stage: str, done: int, total: int) -> None:
        if done == total:
            print(f"{model}: {stage} {done}/{total}", flush=True)

    options = Options(defenses=DEFENSES, seed=seed, batch=32)
    found = bench(model, suite(n), runs / model, options, progress=show)
    settings = {
        name: {
            "n": part["n"],
            "static": part["static"],
            "defenses": {defense: {"attacked": _attacked(told)} for defense, told in part["defenses"].items()},
        }
        for name, part in found["settings"].items()
    }
    attacks = {
        setting: {
            name: {"beats_noise": told["loss_beats_noise"], "p": told["loss_p"], "note": told["note"]}
            for name, told in by.items()
        }
        for setting, by in found["attacks"].items()
    }
    kept = {name: found[name] for name in ("judges", "defenses", "overall", "cost", "adaptive", "noise", "gate")}
    return {**kept, "settings": settings, "attacks": attacks}


def _attacked(told: dict[str, Any]) -> dict[str, Any] | None:
    part = told["attacked"]
    return None if part is None else {name: part[name] for name in ("n", "asr", "outcomes")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(NAMES))
    parser.add_argument("--n", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "adaptive")
    given = parser.parse_args()
    models = {model: measure(model, given.n, given.seed, given.runs) for model in given.models}
    told = {"schema": 1, "suite": "pixels", "n": given.n, "seed": given.seed, "steps": STEPS, "models": models}
    write_json(ROOT / "results" / "adaptive.json", {**told, "provenance": provenance()})


if __name__ == "__main__":
    main()
