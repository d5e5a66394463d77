"""What serving costs: throughput and latency by clients, guarded against plain, against offline batches; memory over many requests; start-up.

    python -m benchmarks.serve [--clients 1 4 16 64] [--rounds 5] [--memory 2000] [--large 25M] [--out results/serve-cpu.json]

Two servers on loopback take turns in one run: the model behind a VLM-Guard that acts on every prompt, and the same engine without it. Answers
have a fixed length, because the token that ends an answer is taken away. Offline is the guarded model given the same prompts in batches. The
embedded model is the hardest case, since a step of it takes a few milliseconds; a random model of a larger shape is measured with fewer requests.
On an accelerator: `python -m benchmarks.serve --large 7B --out results/serve-gpu.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.load import body
from benchmarks.memory import resident_mib
from benchmarks.steering import guard_of
from benchmarks.steering import load as load_model
from benchmarks.timing import now
from scripts.provenance import provenance
from sightguard.artifacts import write_json
from sightguard.data.blank import blank
from sightguard.engine.guarded import Guarded, parts_of
from sightguard.engine.local import LocalEngine
from sightguard.engine.rows import Row
from sightguard.engine.watched import Notes
from sightguard.models.vlm import VLM
from sightguard.serve.app import make_app
from sightguard.serve.job import GuardId, Job, Proof
from sightguard.serve.listen import bound, serve
from sightguard.serve.service import Service
from sightguard.serve.settings import Settings
from sightguard.steering.steer import steer
from sightguard.types import Sample

BATCH = 16


class Plain(LocalEngine):
    """The same engine, answering without its guard: what a guarded server is compared with."""

    def answer(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            job.plain = True
        super().answer(jobs)

    def _proof(self, row: Row, notes: Notes) -> Proof:
        return Proof(parts_of(row.job.sample))  # or the server would answer nothing


def model(shape: str) -> VLM:
    """Return the model, with answers that do not end by themselves."""
    vlm = load_model(shape)
    vlm.model.generation_config.eos_token_id = None
    return vlm


def engine(shape: str, kind: str) -> LocalEngine:
    """Return what answers: "guarded" or "plain"."""
    vlm = model(shape)
    made = LocalEngine if kind == "guarded" else Plain
    return made(Guarded(vlm, guard_of(vlm)), "bench", GuardId("vlm_guard", "0" * 64), BATCH)


def run_server(shape: str, kind: str) -> None:
    """Serve until ended; the first line says the port."""
    at = bound("127.0.0.1", 0)
    service = Service(engine(shape, kind), Settings(deadline=3600, queue=1024))
    serve(make_app(service), at, ready=lambda: print(at.getsockname()[1], flush=True))


@contextmanager
def server(shape: str, kind: str) -> Iterator[tuple[int, int]]:
    """Start a server; yields its port and its process."""
    command = [sys.executable, "-m", "benchmarks.serve", "--shape", shape, "--serve", kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline()), process.pid
        finally:
            process.terminate()


def clients(port: int, count: int, requests: int, tokens: int) -> dict[str, Any]:
    """Let clients ask, in a process of their own."""
    command = [sys.executable, "-m", "benchmarks.load", *map(str, (port, count, requests, tokens))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def offline(vlm: VLM, requests: int, tokens: int) -> float:
    """Return tokens/s of the guarded model, given the same prompts in batches."""
    steered = steer(vlm, guard_of(vlm))
    samples = [Sample.of(f"{i} what is this ?", blank(), id=str(i)) for i in range(requests)]
    began = now()
    for start in range(0, requests, BATCH):
        steered.generate(samples[start : start + BATCH], max_new_tokens=tokens, batch=BATCH)
    return requests * tokens / (now() - began)


def throughput(shape: str, counts: Sequence[int], requests: int, tokens: int, rounds: int) -> dict[str, Any]:
    """Return tokens/s and latency by clients for both servers, and the ratios, over rounds in which they take turns."""
    vlm = model(shape)
    rates: dict[str, list[float]] = {}
    latencies: dict[str, list[float]] = {}
    lost = 0
    batches: dict[str, float] = {}
    with server(shape, "guarded") as guarded, server(shape, "plain") as plain:
        for number in range(rounds + 1):  # the first warms up
            alone = offline(vlm, requests, tokens)
            if number:
                rates.setdefault("offline", []).append(alone)
            for count in counts:
                for kind, (port, _) in {"guarded": guarded, "plain": plain}.items():
                    before = _batches(port)
                    # one client is slow, and its rate needs no more requests than others
                    found = clients(port, count, max(count, requests // (8 if count == 1 else 1)), tokens)
                    after = _batches(port)
                    if number:
                        name = f"{kind}/{count}"
                        rates.setdefault(name, []).append(found["tokens"] / found["seconds"])
                        latencies.setdefault(name, []).extend(found["latencies"])
                        lost += found["lost"]
                        batches[name] = (after[0] - before[0]) / max(after[1] - before[1], 1)
    rows = {
        name: {
            "tokens_per_second": statistics.median(rates[name]),
            "low": min(rates[name]),
            "high": max(rates[name]),
            "mean_batch": batches[name],
            **{f"p{p}": _percentile(latencies[name], p) for p in (50, 95, 99)},
        }
        for name in latencies
    }
    return {
        "requests": requests,
        "tokens": tokens,
        "rounds": rounds,
        "offline_tokens_per_second": statistics.median(rates["offline"]),
        "servers": rows,
        "lost": lost,
        "ratios": _ratios(rates, counts),
    }


def _ratios(rates: dict[str, list[float]], counts: Sequence[int]) -> dict[str, Any]:
    def median(first: str, second: str) -> dict[str, float]:
        found = [a / b for a, b in zip(rates[first], rates[second], strict=True)]
        return {"ratio": statistics.median(found), "low": min(found), "high": max(found)}

    told: dict[str, Any] = {
        f"guarded/{count} against plain/{count}": median(f"guarded/{count}", f"plain/{count}") for count in counts
    }
    for count in counts:
        told[f"guarded/{count} against offline"] = median(f"guarded/{count}", "offline")
    if 1 in counts:
        for count in counts:
            if count > 1:
                told[f"guarded/{count} against guarded/1"] = median(f"guarded/{count}", "guarded/1")
    return told


def memory(shape: str, requests: int, tokens: int) -> dict[str, Any]:
    """Return the resident memory of a server, in MiB, after every tenth of so many requests."""
    seen: list[float] = []
    with server(shape, "guarded") as (port, process):
        clients(port, BATCH, 4 * BATCH, tokens)  # what is made once is made
        for _ in range(10):
            clients(port, BATCH, requests // 10, tokens)
            seen.append(resident_mib(process))
    return {"requests": requests, "mib": seen, "growth_mib": seen[-1] - seen[0]}


def start_up(rounds: int) -> dict[str, float]:
    """Return the seconds from the command to the first answer of `sightguard serve pocket`, its canary included."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        command = [sys.executable, "-m", "sightguard", "serve", "pocket", "--port", "0"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            port = next(int(found[1]) for line in process.stderr if (found := re.search(r":(\d+)/v1", line)))
            _answer(port)
            times.append(time.perf_counter() - began)
            process.terminate()
    return {"seconds": statistics.median(times), "low": min(times), "high": max(times)}


def _answer(port: int) -> None:
    asked = json.loads(body(0, 1)) | {"model": "pocket"}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions", json.dumps(asked).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        assert reply.status == 200


def _batches(port: int) -> tuple[float, float]:
    """Return (jobs, batches) so far."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as reply:
        lines = [line.split() for line in reply.read().decode().splitlines() if not line.startswith("#")]
    values = {parts[0]: float(parts[1]) for parts in lines if len(parts) == 2}
    return values["sightguard_batch_jobs_sum"], values["sightguard_batch_jobs_count"]


def _percentile(values: Sequence[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--requests", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", type=int, default=2000)
    parser.add_argument("--large", default="25M")
    parser.add_argument("--out", type=Path, default=Path("results/serve-cpu.json"))
    parser.add_argument("--shape", default="pocket", help=argparse.SUPPRESS)
    parser.add_argument("--serve", choices=("guarded", "plain"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    # the server has two threads that work, and clients want a core too
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    if given.serve:
        run_server(given.shape, given.serve)
        return
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    results: dict[str, Any] = {
        "schema": 1,
        "machine": {"device": device, "cores": os.cpu_count(), "threads": torch.get_num_threads()},
        "batch": BATCH,
        "shapes": {"pocket": throughput("pocket", given.clients, given.requests, given.tokens, given.rounds)},
        "start": start_up(given.rounds),
    }
    print(json.dumps(results, indent=1), flush=True)
    results["memory"] = memory("pocket", given.memory, given.tokens)
    print(results["memory"], flush=True)
    results["shapes"][given.large] = throughput(given.large, [1, 16], 2 * BATCH, given.tokens, 3)
    print(json.dumps(results["shapes"][given.large], indent=1), flush=True)
    write_json(given.out, {**results, "provenance": provenance()})


if __name__ == "__main__":
    main()
