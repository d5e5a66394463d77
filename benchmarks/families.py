"""What a guard costs on every family: time and peak memory, each family in a process of its own.

    python -m benchmarks.families [--rounds 5] [--out results/families-cpu.json]
    python -m benchmarks.families --gpu [--batches 1 8 32] [--out results/families-gpu.json]

The first takes the tiny random models of tests/families: it shows what is peculiar to a family, not the cost at a real size. The second
takes random weights in the shapes of LLaVA-1.5-7B and Qwen2.5-VL-7B, in bfloat16, and needs an accelerator with some 40 GB.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers as t

from benchmarks.memory import peak_mib
from benchmarks.steering import pairs
from benchmarks.timing import compare, now
from scripts.provenance import provenance
from sightguard.artifacts import write_json
from sightguard.models.states import prompt_states
from sightguard.models.vlm import VLM
from sightguard.steering.memory import Memory
from sightguard.steering.steer import steer
from sightguard.steering.vlm_guard import VlmGuard
from sightguard.types import Sample
from tests import tiny
from tests.families import words
from tests.families.catalogue import MAKERS
from tests.families.made import processor

PROMPTS, BATCH, TOKENS = 64, 16, 9
CPU, GPU = Path("results/families-cpu.json"), Path("results/families-gpu.json")

Shape = dict[str, Any]

SHAPES: dict[str, Shape] = {
    "LLaVA-1.5-7B": {
        "kind": "llava", "side": 336, "patch": 14, "dtype": torch.bfloat16,
        "vision": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16},
        "text": {
            "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32,
            "vocab_size": 32064, "max_position_embeddings": 4096,
        },
    },
    "Qwen2.5-VL-7B": {
        "kind": "qwen2_5_vl", "side": 672, "patch": 14, "dtype": torch.bfloat16,
        "vision": {
            "hidden_size": 1280, "intermediate_size": 3420, "out_hidden_size": 3584, "depth": 32, "num_heads": 16, "window_size": 112,
            "fullatt_block_indexes": [7, 15, 23, 31],
        },
        "text": {
            "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
            "vocab_size": 152064, "max_position_embeddings": 32768,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        },
    },
}  # fmt: skip
"""Sizes as the checkpoints' own configurations have them; both see 576 image tokens."""


def of_shape(shape: Shape, device: str) -> VLM:
    """Return a random model of a shape on a device; its answers mean nothing, its cost is that of a model of that size."""
    config, pictures, tokenizer, mark, options = PARTS[shape["kind"]](shape)
    torch.manual_seed(0)
    with torch.device(device):
        model = t.AutoModelForImageTextToText.from_config(config, dtype=shape["dtype"]).eval()
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.suppress_tokens = [i for i in tokenizer.added_tokens_decoder if i > 3]
    return VLM(model, processor(config, pictures, tokenizer, mark, **options))


def llava(shape: Shape) -> tuple[Any, ...]:
    tokenizer, side, patch = words.tokenizer([], image_token="<image>"), shape["side"], shape["patch"]
    config = t.LlavaConfig(
        vision_config=t.CLIPVisionConfig(**shape["vision"], image_size=side, patch_size=patch),
        text_config=t.LlamaConfig(**shape["text"]),
        image_token_id=tokenizer.image_token_id,
        vision_feature_layer=-2,
    )
    pictures = t.CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    options = {"patch_size": patch, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return config, pictures, tokenizer, "<image>", options


def qwen2_5_vl(shape: Shape) -> tuple[Any, ...]:
    marks = ("<|vision_start|>", "<|vision_end|>")
    tokenizer = words.tokenizer(marks, image_token="<|image_pad|>", video_token="<|video_pad|>")
    start, end = tokenizer.convert_tokens_to_ids(list(marks))
    grid = {"patch_size": shape["patch"], "temporal_patch_size": 2}
    config = t.Qwen2_5_VLConfig(
        vision_config={**shape["vision"], **grid, "spatial_merge_size": 2},
        text_config=shape["text"],
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    pixels = shape["side"] ** 2
    pictures = t.Qwen2VLImageProcessorPil(**grid, merge_size=2, size={"shortest_edge": pixels, "longest_edge": pixels})
    return config, pictures, tokenizer, f"{marks[0]}<|image_pad|>{marks[1]}", {}


PARTS: dict[str, Callable[[Shape], tuple[Any, ...]]] = {"llava": llava, "qwen2_5_vl": qwen2_5_vl}


def prompts(count: int, side: int = 24) -> list[Sample]:
    """Return questions of like length, each beside a picture of its own."""
    return [
        Sample.of(f"{i:03} how do i find the lamp ?", tiny.picture(i, (side, side)), id=str(i)) for i in range(count)
    ]


def everywhere(vlm: VLM) -> VlmGuard:
    """Return a guard that acts on every prompt, at prefill and at every step, on as many directions as there are up to 16: the dearest case."""
    guard = VlmGuard.fit(vlm, pairs())
    return replace(guard, gate="always", phase="prefill+decode", m=min(16, guard.directions.rank))


def generation(vlm: VLM, guard: VlmGuard, samples: Sequence[Sample], *, rounds: int, tokens: int) -> dict[str, Any]:
    """Compare plain generation with a guarded one, in one batch; references are read anew each time."""
    memory = Memory()
    ways = {"unguarded": vlm.generate, "guarded": steer(vlm, guard, memory=memory).generate}
    return compare(ways, samples, rounds=rounds, tokens=tokens, fresh=memory.clear)


def one(folder: str, rounds: int) -> dict[str, Any]:
    """Measure the model in a folder; meant for a process that has done nothing before."""
    before, began = peak_mib(), now()
    vlm = VLM.load(folder, device="cpu")
    loaded = now() - began
    times = []
    for _ in range(rounds + 1):
        began = now()
        prompt_states(vlm, prompts(PROMPTS), vlm.anatomy.layers, batch=BATCH)
        times.append(now() - began)
    found = generation(vlm, everywhere(vlm), prompts(BATCH), rounds=rounds, tokens=TOKENS)
    return {
        "parameters": sum(p.numel() for p in vlm.model.parameters()),
        "load_seconds": loaded,
        "capture_seconds": statistics.median(times[1:]),
        "generate": found,
        "before_mib": before,
        "peak_mib": peak_mib(),
    }


def in_a_process(family: str, rounds: int) -> dict[str, Any]:
    """Save a family's tiny model, and measure it in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        model, its_processor = MAKERS[family]()
        model.save_pretrained(folder)
        its_processor.save_pretrained(folder)
        command = [sys.executable, "-m", "benchmarks.families", "--one", folder, "--rounds", str(rounds)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{family} could not be measured:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def on_cpu(families: Sequence[str], *, rounds: int, busy: bool = False) -> dict[str, Any]:
    """Return what results/families-cpu.json holds, but for where it comes from."""
    load = [os.getloadavg()[0]]
    found = {family: told(family, in_a_process(family, rounds)) for family in families}
    load.append(os.getloadavg()[0])
    machine = {
        "device": platform.machine(),
        "threads": torch.get_num_threads(),
        "load_average": load,
        "nice": os.nice(0),
        "busy": busy,
    }
    sizes = {"prompts": PROMPTS, "batch": BATCH, "tokens": TOKENS, "rounds": rounds}
    return {"schema": 1, "machine": machine, **sizes, "families": found}


def of_real_shape(shape: Shape, *, device: str, batches: Sequence[int], rounds: int, tokens: int) -> dict[str, Any]:
    """Measure one random model of a shape: ratios, tokens per second and peak memory for each batch."""
    vlm = of_shape(shape, device)
    guard, side = everywhere(vlm), shape["side"]
    return {
        "parameters": sum(p.numel() for p in vlm.model.parameters()),
        "dtype": str(vlm.model.dtype).removeprefix("torch."),
        "batches": {str(batch): of_batch(vlm, guard, prompts(batch, side), rounds, tokens) for batch in batches},
    }


def of_batch(vlm: VLM, guard: VlmGuard, samples: Sequence[Sample], rounds: int, tokens: int) -> dict[str, Any]:
    ids = vlm.encode(samples[:1]).inputs["input_ids"]
    found = generation(vlm, guard, samples, rounds=rounds, tokens=tokens)
    seconds = {way: row["prefill_seconds"] + (tokens - 1) * row["decode_seconds"] for way, row in found.items()}
    return {
        "image_tokens": int((ids == vlm.anatomy.image_token_id).sum()),
        "prompt_tokens": int(ids.shape[1]),
        "generate": found,
        "tokens_per_second": {way: len(samples) * tokens / taken for way, taken in seconds.items()},
        "peak_mib": peaks(vlm, guard, samples),
    }


def peaks(vlm: VLM, guard: VlmGuard, samples: Sequence[Sample]) -> dict[str, float]:
    """Return the accelerator's peak memory of one answer, plain and guarded; on a CPU that of the process so far."""
    found = {}
    cuda = vlm.device.type == "cuda"
    for way, generate in {"unguarded": vlm.generate, "guarded": steer(vlm, guard).generate}.items():
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        generate(samples, max_new_tokens=4, min_new_tokens=4, batch=len(samples))
        found[way] = torch.cuda.max_memory_allocated() / 2**20 if cuda else peak_mib()
    return found


def on_gpu(batches: Sequence[int], *, rounds: int, tokens: int) -> dict[str, Any]:
    """Return what results/families-gpu.json holds, but for where it comes from.

    Raises:
        SystemExit: there is no CUDA device; nothing is measured on anything else in its place.
    """
    if not torch.cuda.is_available():
        raise SystemExit("--gpu measures models of 7 billion parameters on a CUDA device, and torch finds none here")
    found = {}
    for name, shape in SHAPES.items():
        measured = of_real_shape(shape, device="cuda", batches=batches, rounds=rounds, tokens=tokens)
        found[name] = told(name, measured)
        gc.collect()
        torch.cuda.empty_cache()
    machine = {"device": torch.cuda.get_device_name(), "threads": torch.get_num_threads()}
    return {"schema": 1, "machine": machine, "rounds": rounds, "tokens": tokens, "shapes": found}


def told(name: str, found: dict[str, Any]) -> dict[str, Any]:
    print(name, json.dumps(found), flush=True)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=list(MAKERS), choices=list(MAKERS), metavar="FAMILY")
    parser.add_argument("--gpu", action="store_true", help="random weights in real shapes, on a CUDA device")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32], help="with --gpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=33, help="with --gpu")
    parser.add_argument("--busy", action="store_true", help="say in the results that the machine was busy")
    parser.add_argument("--out", type=Path, help=f"default: {CPU}, or {GPU}")
    parser.add_argument("--one", metavar="FOLDER", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.one:
        warnings.simplefilter("ignore")
        print(json.dumps(one(given.one, given.rounds)))
        return
    if given.gpu:
        results = on_gpu(given.batches, rounds=given.rounds, tokens=given.tokens)
    else:
        results = on_cpu(given.families, rounds=given.rounds, busy=given.busy)
    write_json(given.out or (GPU if given.gpu else CPU), {**results, "provenance": provenance()})


if __name__ == "__main__":
    main()
