"""Several processes share the work: two with half the batch each take the steps of one with all of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from sightguard.artifacts import read_tensors

ROOT = Path(__file__).resolve().parent.parent.parent


def trained(out: Path, *, processes: int, batch: int) -> dict[str, np.ndarray]:
    alone = [sys.executable, "-m", "tests.safevlm.shared", str(out), str(batch)]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--standalone"]
    launched = [*launcher, "-m", "tests.safevlm.shared", str(out), str(batch)]
    command = launched if processes > 1 else alone
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return {
        **read_tensors(out / "stage1" / "modules.safetensors"),
        **read_tensors(out / "stage2" / "adapter" / "adapter_model.safetensors"),
    }


def lines(out: Path) -> list[dict[str, float]]:
    told = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [entry for entry in told if "loss" in entry]


def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    one = trained(tmp_path / "one", processes=1, batch=4)
    two = trained(tmp_path / "two", processes=2, batch=2)
    assert one.keys() == two.keys()
    # where a gradient is zero but for rounding, Adam steps by the sign of the rounding: so the middle, not the largest
    moved = np.concatenate([np.abs(one[name] - two[name]).ravel() for name in one])
    assert float(np.median(moved)) < 1e-5
    losses = [[entry["loss"] for entry in lines(tmp_path / name)] for name in ("one", "two")]
    assert len(losses[0]) == 8 + 4
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
