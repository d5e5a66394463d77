"""Several processes share the work: two with half the batch each take the steps of one with all of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sightguard.artifacts import read_tensors

linux = pytest.mark.skipif(sys.platform != "linux", reason="deepspeed is installed on Linux only")
ROOT = Path(__file__).resolve().parent.parent.parent


def launched(out: Path, *how: str, processes: int, batch: int) -> subprocess.CompletedProcess[str]:
    alone = [sys.executable, "-m", "tests.safevlm.shared", str(out), str(batch)]
    several = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--standalone"]
    command = [*several, *alone[1:], *how] if processes > 1 else [*alone, *how]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
        "ACCELERATE_USE_CPU": "true",
        "DS_ACCELERATOR": "cpu",
    }
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


def same_bits(one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> None:
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def one(folder: Path) -> Path:
    """A run of one process."""
    trained(folder / "one", processes=1, batch=4)
    return folder / "one"


@pytest.fixture(scope="module")
def sharded(folder: Path) -> Path:
    """A run of two, with FSDP 2."""
    trained(folder / "sharded", "sharded", processes=2, batch=2)
    return folder / "sharded"


@pytest.fixture(scope="module")
def shared_out(folder: Path) -> Path:
    """A run of two, with DeepSpeed's ZeRO 2."""
    trained(folder / "zero2", "zero2", processes=2, batch=2)
    return folder / "zero2"


def takes_the_steps(of: Path, out: Path) -> None:
    compare(weights(of), weights(out))
    one, two = ([entry["loss"] for entry in lines(run)] for run in (of, out))
    assert len(one) == 8 + 4
    np.testing.assert_allclose(one, two, rtol=1e-3)
    looked = [json.loads((run / "metrics.json").read_text())["stages"] for run in (of, out)]
    for name in ("stage1", "stage2"):
        assert looked[0][name]["over_refusal"] == looked[1][name]["over_refusal"]


def test_two_processes_take_the_steps_of_one(folder: Path, one: Path, sharded: Path) -> None:
    trained(folder / "two", processes=2, batch=2)
    takes_the_steps(one, folder / "two")
    takes_the_steps(one, sharded)


@linux
def test_two_processes_with_zero_take_the_steps_of_one(folder: Path, one: Path, shared_out: Path) -> None:
    """The processes themselves hold that the model is as it was, here and below."""
    trained(folder / "zero1", "zero1", processes=2, batch=2)
    takes_the_steps(one, folder / "zero1")
    takes_the_steps(one, shared_out)


def test_a_sharded_run_that_was_killed_gives_the_weights_of_one_that_was_not(tmp_path: Path, sharded: Path) -> None:
    killed = launched(tmp_path / "killed", "sharded", "killed", processes=2, batch=2)
    assert killed.returncode != 0
    assert (tmp_path / "killed" / "checkpoint.safetensors").exists()
    same_bits(weights(sharded), trained(tmp_path / "killed", "sharded", processes=2, batch=2))


@linux
def test_a_run_with_zero_that_was_killed_gives_the_weights_of_one_that_was_not(
    tmp_path: Path, shared_out: Path
) -> None:
    killed = launched(tmp_path / "killed", "zero2", "killed", processes=2, batch=2)
    assert killed.returncode != 0
    assert (tmp_path / "killed" / "checkpoint.safetensors").exists()
    alone = launched(tmp_path / "killed", processes=1, batch=2)
    assert "was written by 2 processes of DeepSpeed, now there are 1 of accelerate" in alone.stderr
    same_bits(weights(shared_out), trained(tmp_path / "killed", "zero2", processes=2, batch=2))
    assert lines(tmp_path / "killed") == lines(shared_out)


@linux
def test_zero_calculates_in_the_precision_that_was_asked_for(tmp_path: Path) -> None:
    """The processes themselves say in what they calculated."""
    precise = trained(tmp_path / "out", "zero2", "bf16", processes=2, batch=2)
    assert {array.dtype for array in precise.values()} == {np.dtype(np.float32)}
