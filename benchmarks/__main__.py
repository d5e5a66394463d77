"""Speed and memory side by side in one run: `python -m benchmarks [--shapes pocket 0.3B] [--out results/bench-cpu.json]`.

On an accelerator: `python -m benchmarks --shapes 7B 13B --batches 1 8 32 --out results/bench-gpu.json`.
Every family after that, in processes of their own, and on an accelerator two real shapes: see benchmarks/families.py.
"""

from __future__ import annotations

import argparse
import platform
from pathlib import Path
from typing import Any

import torch

from benchmarks import families
from benchmarks.start import start
from benchmarks.steering import fitting, generation, guard_of, load, peaks
from scripts.provenance import provenance
from sightguard.artifacts import write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=["pocket", "0.3B"])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=25)
    parser.add_argument("--out", type=Path, default=Path("results/bench-cpu.json"))
    given = parser.parse_args()
    results: dict[str, Any] = {
        "schema": 1,
        "machine": {
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
            "threads": torch.get_num_threads(),
        },
        "rounds": given.rounds,
        "tokens": given.tokens,
        "start": start(given.rounds),
        "shapes": {},
    }
    for shape in given.shapes:
        found: dict[str, Any] = {"memory_mib": {str(batch): peaks(shape, batch) for batch in given.batches}}
        print(shape, found, flush=True)
        vlm = load(shape)
        guard = guard_of(vlm)
        found |= {
            "parameters": sum(p.numel() for p in vlm.model.parameters()),
            "dtype": str(vlm.model.dtype).removeprefix("torch."),
            "edited_layers": len(guard.layers),
            "m": guard.m,
            "fit": fitting(vlm, given.rounds),
            "batches": {},
        }
        print(shape, found["fit"], flush=True)
        for batch in given.batches:
            few = given.rounds if batch == 1 or shape == "pocket" else max(2, given.rounds // 2)
            found["batches"][str(batch)] = generation(vlm, guard, batch, rounds=few, tokens=given.tokens)
            print(shape, batch, found["batches"][str(batch)], flush=True)
        results["shapes"][shape] = found
        write_json(given.out, {**results, "provenance": provenance()})
    families.main(["--rounds", str(given.rounds), *(["--gpu"] if torch.cuda.is_available() else [])])


main()
