"""What VLM-Guard costs on a random LLaVA of a real shape: prefill, decode and fitting, each as a ratio in one run.

    python -m benchmarks.steering --out results/bench_steering.json

Prefill and decode: guarded against unguarded `generate`, in turns, medians; 576 image tokens a prompt. The guard reads each prompt's
text anew in every round. Fitting: `VlmGuard.fit` at all layers against one plain pass over the same 200 prompts.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from sightguard import __version__
from sightguard.artifacts import write_json
from sightguard.data.blank import blank
from sightguard.models.encode import pad_rows
from sightguard.models.vlm import VLM
from sightguard.pocket.locate import folder
from sightguard.steering.method import text_rows
from sightguard.steering.steer import steer
from sightguard.steering.vlm_guard import VlmGuard
from sightguard.types import Sample

SIDE, PATCH = 336, 14
QUESTION = "how do i fix the lamp ? " * 5


def model(hidden: int, layers: int) -> VLM:
    """A random LLaVA with 576 image tokens; the vision tower is small, so that the language model's share is not flattered."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder("pocket"))
    vision = CLIPVisionConfig(
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=SIDE,
        patch_size=PATCH,
    )
    language = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=hidden, intermediate_size=int(2.6875 * hidden), num_hidden_layers=layers,
        num_attention_heads=hidden // 64, max_position_embeddings=2048,
    )  # fmt: skip
    image_token = tokenizer.convert_tokens_to_ids("<image>")
    config = LlavaConfig(
        vision_config=vision, text_config=language, image_token_id=image_token, vision_feature_layer=-1
    )
    torch.manual_seed(0)
    net = LlavaForConditionalGeneration(config).eval()
    net.generation_config.pad_token_id = tokenizer.pad_token_id
    pictures = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    template = LlavaProcessor.from_pretrained(folder("pocket")).chat_template
    processor = LlavaProcessor(
        pictures,
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    )
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    return VLM(net.to(device), processor)


def seconds(work: Callable[[], Any]) -> float:
    """Return how long `work` took, waiting for an accelerator to finish."""
    began = time.perf_counter()
    work()
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return time.perf_counter() - began


def ratio(first: Callable[[], Any], second: Callable[[], Any], rounds: int) -> dict[str, float]:
    """Return the median of first / second over rounds in which they take turns, after one warm-up."""
    pairs = [(seconds(first), seconds(second)) for _ in range(rounds + 1)][1:]
    ratios = [a / b for a, b in pairs]
    return {
        "median": statistics.median(ratios),
        "min": min(ratios),
        "max": max(ratios),
        "baseline_seconds": statistics.median(b for _, b in pairs),
    }


def decode_ratio(vlm: VLM, guarded: Any, samples: list[Sample], rounds: int, tokens: int) -> dict[str, float]:
    """Return the ratio of seconds per further token: a long answer minus a one-token answer, both ways in turns."""

    def per_token(generate: Callable[..., Any]) -> float:
        short = seconds(lambda: generate(samples, max_new_tokens=1, batch=len(samples)))
        long = seconds(
            lambda: generate(samples, max_new_tokens=tokens + 1, min_new_tokens=tokens + 1, batch=len(samples))
        )
        return (long - short) / tokens

    pairs = [(per_token(guarded.generate), per_token(vlm.generate)) for _ in range(rounds + 1)][1:]
    ratios = [a / b for a, b in pairs]
    return {
        "median": statistics.median(ratios),
        "min": min(ratios),
        "max": max(ratios),
        "baseline_seconds": statistics.median(b for _, b in pairs),
    }


def fit_ratio(vlm: VLM, pairs: list[tuple[Sample, Sample]], rounds: int) -> dict[str, float]:
    """Return fitting at all layers against one plain pass of the decoder over the same prompts, in the same batches."""
    rows = sorted(text_rows(vlm, [sample for pair in pairs for sample in pair]), key=len)

    @torch.no_grad()
    def plain() -> None:
        for start in range(0, len(rows), 64):
            vlm.anatomy.decoder(**pad_rows(rows[start : start + 64], pad=vlm.pad, device=vlm.device), use_cache=False)

    return ratio(lambda: VlmGuard.fit(vlm, pairs), plain, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--out", type=Path, default=Path("results/bench_steering.json"))
    given = parser.parse_args()
    vlm = model(given.hidden, given.layers)
    words = [
        f"how do i {verb} the {thing} number {i} ?"
        for i in range(25)
        for verb in ("fix", "clean")
        for thing in ("lamp", "door")
    ]
    pairs = [(Sample.of(a), Sample.of(b)) for a, b in zip(words, reversed(words), strict=True)]
    guard = replace(VlmGuard.fit(vlm, pairs), gate="always")
    results: dict[str, Any] = {
        "schema": 1, "what": "random LLaVA, 576 image tokens", "hidden": given.hidden, "layers": given.layers,
        "edited_layers": list(guard.layers), "m": guard.m, "rounds": given.rounds, "device": str(vlm.device), "dtype": str(vlm.model.dtype),
        "threads": torch.get_num_threads(), "machine": platform.machine(), "version": __version__, "torch": torch.__version__.split("+")[0],
    }  # fmt: skip
    results["fit"] = fit_ratio(vlm, pairs, given.rounds)
    for batch in given.batches:
        samples = [Sample.of(f"{i} {QUESTION}", blank(), id=str(i)) for i in range(batch)]
        guarded = steer(vlm, guard)

        def once(samples: list[Sample] = samples, guarded: Any = guarded) -> None:
            guarded.memory.clear()
            guarded.generate(samples, max_new_tokens=1, batch=len(samples))

        plain = lambda samples=samples: vlm.generate(samples, max_new_tokens=1, batch=len(samples))  # noqa: E731
        results[f"prefill_batch_{batch}"] = ratio(once, plain, given.rounds)
        results[f"decode_batch_{batch}"] = decode_ratio(vlm, guarded, samples, given.rounds, given.tokens)
    write_json(given.out, results)
    for name, value in results.items():
        print(name, value)


if __name__ == "__main__":
    main()
