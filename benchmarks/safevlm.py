"""What SafeVLM costs: head and tokens in a request, time and peak memory of a training step. Ratios within one run.

    python -m benchmarks.safevlm [--shapes pocket 0.3B] [--batches 1 16] [--rounds 5] [--out results/safevlm-cpu.json]

On an accelerator: `python -m benchmarks.safevlm --shapes 7B --batches 1 8 32 --train-batch 2 --out results/safevlm-gpu.json`.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.memory import peak_mib
from benchmarks.steering import load
from benchmarks.timing import compare, now
from scripts.provenance import provenance
from sightguard.artifacts import write_json
from sightguard.data.records import Record
from sightguard.data.taxonomy import published
from sightguard.models.vlm import VLM
from sightguard.pocket import world
from sightguard.safevlm.config import POCKET, Config
from sightguard.safevlm.features import picture_features
from sightguard.safevlm.learner import Learner, lesson
from sightguard.safevlm.lora import lora
from sightguard.safevlm.model import SafeVLM
from sightguard.safevlm.modules import SafetyModules, Shape
from sightguard.safevlm.policy import default_policy
from sightguard.types import Sample

STEPS = 4


def untrained(vlm: VLM, shape: str) -> tuple[SafeVLM, Config]:
    """Return SafeVLM with fresh modules of the published sizes, or pocket's, and the configuration that they are of."""
    config = POCKET if shape == "pocket" else Config()
    sizes, taxonomy = config.modules, published()
    (shown,) = picture_features(vlm, prompts(1))
    torch.manual_seed(0)
    modules = SafetyModules(
        Shape(
            vision=int(shown[0].shape[-1]),
            hidden=vlm.anatomy.hidden_size,
            tokens=sizes.tokens,
            inner=sizes.inner,
            side=sizes.side,
            depth=sizes.depth,
            heads=sizes.heads,
            query=sizes.query,
        )
    )
    return SafeVLM(vlm, modules, taxonomy, default_policy(taxonomy)), config


def prompts(n: int) -> list[Sample]:
    return world.settings("validation", max(n, 20))["blank_image"][:n]


def requests(shape: str, batches: list[int], rounds: int, tokens: int) -> dict[str, Any]:
    """Return the cost of a request with tokens, and with tokens and head, against the plain model."""
    vlm = load(shape)
    safe, _ = untrained(vlm, shape)
    still = SafeVLM(vlm, safe.modules, safe.taxonomy, safe.policy, hints=False)
    ways = {"plain": vlm.generate, "tokens": still.generate, "tokens and head": safe.generate}
    found: dict[str, Any] = {
        "parameters": sum(p.numel() for p in vlm.model.parameters()),
        "safety_parameters": sum(p.numel() for p in safe.modules.parameters()),
        "batches": {},
    }
    for batch in batches:
        found["batches"][str(batch)] = compare(ways, prompts(batch), rounds=rounds, tokens=tokens, fresh=lambda: None)
    return found


def training(shape: str, stage: str, batch: int) -> dict[str, float]:
    """Return seconds and peak memory of one pass of training, forward and backward, with the optimizer's step."""
    vlm = load(shape)
    before = peak()
    safe, config = untrained(vlm, shape)
    vlm.model.requires_grad_(False)
    records = [Record(sample, "No, I will not help with that.", 1, 3) for sample in prompts(batch)]
    if stage == "stage2":
        safe.modules.requires_grad_(False)
        with lora(vlm, config.lora) as model:
            del model
            seconds = steps(safe, records, classifies=False)
    else:
        seconds = steps(safe, records, classifies=True)
    return {"seconds": seconds, "peak_mib": peak(), "loaded_mib": before, "batch": batch}


def steps(safe: SafeVLM, records: list[Record], *, classifies: bool) -> float:
    learner = Learner(safe, classifies=classifies, weight=10.0)
    optimizer = torch.optim.AdamW([p for p in learner.parameters() if p.requires_grad], lr=1e-5)
    times = []
    for _ in range(STEPS + 1):
        began = now()
        optimizer.zero_grad()
        learner(lesson(safe, records))["loss"].backward()
        optimizer.step()
        times.append(now() - began)
    return statistics.median(times[1:])


def peak() -> float:
    """Return the peak memory in MiB: the accelerator's, or this process's."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return peak_mib()


def alone(shape: str, stage: str, batch: int) -> dict[str, float]:
    """Measure one stage in a process of its own, so that peaks are its own."""
    command = [sys.executable, "-m", "benchmarks.safevlm", "--one", shape, stage, str(batch)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, float] = json.loads(told.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=["pocket", "0.3B"])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--train-batch", type=int, help="default: pocket's 32, the published 2 elsewhere")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=17)
    parser.add_argument("--out", type=Path, default=Path("results/safevlm-cpu.json"))
    parser.add_argument("--one", nargs=3, metavar=("SHAPE", "STAGE", "BATCH"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(training(given.one[0], given.one[1], int(given.one[2]))))
        return
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    results: dict[str, Any] = {
        "schema": 1,
        "machine": {"device": device, "threads": torch.get_num_threads()},
        "rounds": given.rounds,
        "shapes": {},
    }
    for shape in given.shapes:
        batch = given.train_batch or (POCKET if shape == "pocket" else Config()).stage1.batch
        results["shapes"][shape] = {
            **requests(shape, given.batches, given.rounds, given.tokens),
            "training": {stage: alone(shape, stage, batch) for stage in ("stage1", "stage2")},
        }
        print(json.dumps(results["shapes"][shape], indent=1), flush=True)
    write_json(given.out, {**results, "provenance": provenance()})


if __name__ == "__main__":
    main()
