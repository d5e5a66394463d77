"""What the bench's runner costs: samples/s against bare batched `generate`, the overhead of taking a run up again, and memory at two sizes.

    python -m benchmarks.bench [--samples 512] [--rounds 5] [--memory 1000 50000] [--out results/runner-cpu.json]

The runner asks, judges by the embedded model's grammar and writes each line; the bare model is given the same batches. Memory is measured with a
model that answers at once, since no model is needed to see what the runner keeps.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.memory import peak_mib, resident_mib
from benchmarks.timing import now, ratio
from scripts.provenance import provenance
from sightguard.artifacts import write_json
from sightguard.attacks.adaptive import adaptive, surfaces_of
from sightguard.attacks.pgd import TARGET, Pgd
from sightguard.bench.configured import by_length
from sightguard.bench.pixels import STEPS
from sightguard.bench.report import write_report
from sightguard.evaluate.judges import RefusalPhrases
from sightguard.evaluate.run import evaluate_to
from sightguard.models.vlm import VLM
from sightguard.pocket import world
from sightguard.pocket.judge import PocketJudge
from sightguard.testing import FakeGenerate
from sightguard.types import Sample

BATCH = 64


def speed(samples: int, rounds: int) -> dict[str, Any]:
    """Return how long the runner takes against the bare model, and a run that is all done against one that is not."""
    vlm = replace(VLM.load("pocket"), batch=BATCH, max_new_tokens=24)
    asked = by_length(world.settings("validation", samples)["blank_image"])
    judge = PocketJudge()
    with tempfile.TemporaryDirectory() as place:
        runs = iter(range(1000))

        def runner() -> None:
            evaluate_to(
                Path(place) / str(next(runs)), {"none": vlm.generate}, {"blank_image": asked}, judge, batch=BATCH
            )

        def bare() -> None:
            for start in range(0, len(asked), BATCH):
                vlm.generate(asked[start : start + BATCH])

        found = ratio(bare, runner, rounds)
        whole = Path(place) / "0"
        began = now()
        evaluate_to(whole, {"none": vlm.generate}, {"blank_image": asked}, judge, batch=BATCH, resume=True)
        again = now() - began
    return {
        "samples": samples,
        "runner_samples_per_second": samples / found["baseline_seconds"],
        "bare_samples_per_second": samples / found["seconds"],
        "ratio": found["ratio"],
        "low": found["low"],
        "high": found["high"],
        "resume_seconds": again,
        "resume_share": again / found["baseline_seconds"],
    }


def gradient(samples: int = 16) -> float:
    """Return the seconds of a sample's pass forwards and backwards in an attack on the pixels that the undefended model sees."""
    vlm = VLM.load("pocket")
    asked = world.settings("validation", samples)["blank_image"]
    options = Pgd(steps=STEPS, batch=samples)
    began = now()
    adaptive(surfaces_of(vlm, None), asked, TARGET, options)
    return (now() - began) / (STEPS * len(asked))


def memory(samples: int) -> tuple[float, float, float]:
    """Return in MiB what a run of so many samples takes in this process: the prompts alone, the most while it asks, and the most with its report."""
    before = resident_mib()
    answer = "It is a lamp on a table, and the table stands beside a window. " * 8
    asked = [
        Sample.of(f"What is in picture {i}, and why?", id=str(i), harmful=i % 2 == 0, category=str(i % 5))
        for i in range(samples)
    ]
    held = resident_mib() - before
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        about = {"model": "fake", "settings": {"asked": {"kind": "harmful"}}}
        evaluate_to(
            folder,
            {"none": FakeGenerate(lambda sample: answer)},
            {"asked": asked},
            RefusalPhrases(),
            batch=BATCH,
            about=about,
        )
        asking = peak_mib()
        write_report(folder)
    return held, asking, peak_mib()


def alone(samples: int) -> dict[str, float]:
    """Measure in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.bench", "--peak", str(samples)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-3:]
    return dict(zip(("prompts", "asking", "peak"), map(float, told), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", type=int, nargs="*", default=[1000, 50_000])
    parser.add_argument("--out", type=Path, default=Path("results/runner-cpu.json"))
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peak:
        print(*memory(given.peak))
        return
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    results: dict[str, Any] = {
        "schema": 1,
        "machine": {"device": device, "threads": torch.get_num_threads()},
        "rounds": given.rounds,
        **speed(given.samples, given.rounds),
        "gradient_seconds": gradient(),
        "memory_mib": {str(samples): alone(samples) for samples in given.memory},
    }
    print(results, flush=True)
    write_json(given.out, {**results, "provenance": provenance()})


if __name__ == "__main__":
    main()
