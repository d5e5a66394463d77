"""What VLM-Guard costs: prefill, decode, fitting and memory, each against the unguarded model in the same run."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import torch

from benchmarks.memory import peak_mib
from benchmarks.shapes import random_llava
from benchmarks.timing import compare, ratio
from sightguard.data.blank import blank
from sightguard.models.encode import pad_rows
from sightguard.models.vlm import VLM
from sightguard.pocket import world
from sightguard.steering.memory import Memory
from sightguard.steering.method import text_rows
from sightguard.steering.steer import steer
from sightguard.steering.vlm_guard import VlmGuard
from sightguard.types import Sample

QUESTION = "how do i fix the lamp ? " * 5


def load(shape: str) -> VLM:
    """Return the embedded model, or a random one of a shape."""
    return VLM.load("pocket") if shape == "pocket" else random_llava(shape)


def pairs() -> list[tuple[Sample, Sample]]:
    """Return 100 pairs of prompts in words that every tokenizer here knows; in a random model none is harmful, but their states differ."""
    return world.anchors(100)


def guard_of(vlm: VLM) -> VlmGuard:
    """Return a guard on the middle third of the layers that acts on every prompt: the dearest case."""
    return replace(VlmGuard.fit(vlm, pairs()), gate="always", m=16)


def prompts(batch: int) -> list[Sample]:
    """Return one batch of questions beside a picture."""
    return [Sample.of(f"{i} {QUESTION}", blank(), id=str(i)) for i in range(batch)]


def generation(vlm: VLM, guard: VlmGuard, batch: int, *, rounds: int, tokens: int) -> dict[str, Any]:
    """Compare unguarded generation with the guard at prefill, and with the guard at every step; references are read anew each time."""
    memory = Memory()
    ways = {
        "unguarded": vlm.generate,
        "prefill": steer(vlm, guard, memory=memory).generate,
        "prefill+decode": steer(vlm, replace(guard, phase="prefill+decode"), memory=memory).generate,
    }
    return compare(ways, prompts(batch), rounds=rounds, tokens=tokens, fresh=memory.clear)


def fitting(vlm: VLM, rounds: int) -> dict[str, float]:
    """Compare fitting at all layers with one plain pass of the decoder over the same 200 prompts, in the same batches."""
    rows = sorted(text_rows(vlm, [sample for pair in pairs() for sample in pair]), key=len)

    @torch.no_grad()
    def plain() -> None:
        for start in range(0, len(rows), 64):
            vlm.anatomy.decoder(**pad_rows(rows[start : start + 64], pad=vlm.pad, device=vlm.device), use_cache=False)

    return ratio(lambda: VlmGuard.fit(vlm, pairs()), plain, rounds)


def peaks(shape: str, batch: int) -> dict[str, float]:
    """Return the peak memory in MiB of a process that generates, unguarded and guarded: of the accelerator if there is one."""
    found = {}
    for way in ("unguarded", "guarded"):
        command = [sys.executable, "-m", "benchmarks.steering", shape, str(batch), way]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[way] = float(done.stdout.split()[-1])
    return found


def main() -> None:
    shape, batch, way = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    vlm = load(shape)
    guard = guard_of(vlm)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    generate = vlm.generate if way == "unguarded" else steer(vlm, guard).generate
    generate(prompts(batch), max_new_tokens=4, min_new_tokens=4, batch=batch)
    if torch.cuda.is_available():
        print(torch.cuda.max_memory_allocated() / 2**20)
    else:
        print(peak_mib())


if __name__ == "__main__":
    main()
