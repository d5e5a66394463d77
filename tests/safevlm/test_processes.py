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


def launched(out: Path, *how: str, processes: int, batch: int) -> subprocess.CompletedProcess[str]:
    alone = [sys.executable, "-m", "tests.safevlm.shared", str(out), str(batch)]
    several = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--standalone"]
    command = [*several, *alone[1:], *how] if processes > 1 else [*alone, *how]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "ACCELERATE_USE_CPU": "true"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)


def weights(out: Path) -> dict[str, np.ndarray]:
    return {
        **read_tensors(out / "stage1" / "modules.safetensors"),
        **read_tensors(out / "stage2" / "adapter" / "adapter_model.safetensors"),
    }


def trained(out: Path, *how: str, processes: int, batch: int) -> dict[str, np.ndarray]:
    done = launched(out, *how, processes=processes, batch=batch)
    assert done.returncode == 0, done.stderr[-3000:]
    return weights(out)


def lines(out: Path) -> list[dict[str, float]]:
    told = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [entry for entry in told if "loss" in entry]


def compare(one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> None:
    assert {name: array.shape for name, array in one.items()} == {name: array.shape for name, array in two.items()}
    # where a gradient is zero but for rounding, Adam steps by the sign of the rounding: so the middle, not the largest
    moved = np.concatenate([np.abs(one[name] - two[name]).ravel() for name in one])
    assert float(np.median(moved)) < 1e-5


def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    one = trained(tmp_path / "one", processes=1, batch=4)
    compare(one, trained(tmp_path / "two", processes=2, batch=2))
    compare(one, trained(tmp_path / "sharded", "sharded", processes=2, batch=2))
    losses = {name: [entry["loss"] for entry in lines(tmp_path / name)] for name in ("one", "two", "sharded")}
    assert len(losses["one"]) == 8 + 4
    np.testing.assert_allclose(losses["one"], losses["two"], rtol=1e-3)
    np.testing.assert_allclose(losses["one"], losses["sharded"], rtol=1e-3)
    looked = [json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("one", "sharded")]
    assert looked[0]["stages"]["stage2"]["over_refusal"] == looked[1]["stages"]["stage2"]["over_refusal"]


def test_a_sharded_run_that_was_killed_gives_the_weights_of_one_that_was_not(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", "sharded", processes=2, batch=2)
    killed = launched(tmp_path / "killed", "sharded", "killed", processes=2, batch=2)
    assert killed.returncode != 0
    assert (tmp_path / "killed" / "checkpoint.safetensors").exists()
    again = trained(tmp_path / "killed", "sharded", processes=2, batch=2)
    assert whole.keys() == again.keys()
    for name in whole:
        np.testing.assert_array_equal(whole[name], again[name], err_msg=name)
