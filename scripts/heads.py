"""Compare readings of the safety head and projectors on embedded models; validation records only.

The classification losses alone are trained, on vision features that are read once: the language model takes no part, so a comparison
takes minutes. Writes results/safevlm-heads.json.

    python -m scripts.heads [MODEL ...]
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from scripts.provenance import ROOT, provenance
from sightguard.artifacts import write_json
from sightguard.data.records import Record
from sightguard.models.vlm import VLM
from sightguard.pocket import risks
from sightguard.safevlm.config import POCKET
from sightguard.safevlm.features import first_token, picture_features, question
from sightguard.safevlm.metrics import classification, rate
from sightguard.safevlm.modules import SafetyModules, Shape
from sightguard.safevlm.verdict import joint

MODELS = ("pocket",)
TRAIN, VALIDATION = 8000, 1000
VARIANTS: dict[str, dict[str, Any]] = {
    "pooled, C-Abstractor": {},
    "first, C-Abstractor": {"query": "first"},
    "pooled, MLP": {"projector": "mlp"},
    "first, MLP": {"query": "first", "projector": "mlp"},
}
BATCH = 32


@dataclass(frozen=True)
class Read:
    """Records as the head sees them."""

    pictures: Tensor
    text: Tensor
    asked: Tensor
    truth: Tensor


def read(vlm: VLM, records: Sequence[Record], width: int) -> Read:
    first = first_token(vlm, records[0].sample)
    pictures, text, asked = [], [], []
    for start in range(0, len(records), 200):
        samples = [record.sample for record in records[start : start + 200]]
        pictures += [shown[0] for shown in picture_features(vlm, samples)]
        told = question(vlm, samples, first)
        space = width - told.text.shape[1]
        text.append(functional.pad(told.text, (0, 0, 0, space)))
        asked.append(functional.pad(told.asked, (0, space)))
    truth = torch.tensor([[record.type, record.level] for record in records])
    return Read(torch.stack(pictures), torch.cat(text), torch.cat(asked), truth)


def trained(vlm: VLM, given: Read, variant: dict[str, Any], seed: int) -> SafetyModules:
    sizes = POCKET.modules
    torch.manual_seed(seed)
    shape = Shape(
        **{
            "vision": given.pictures.shape[-1], "hidden": vlm.anatomy.hidden_size, "tokens": sizes.tokens, "inner": sizes.inner,
            "side": sizes.side, "depth": sizes.depth, "heads": sizes.heads, **variant,
        }
    )  # fmt: skip
    modules = SafetyModules(shape)
    stage = POCKET.stage1
    optimizer = torch.optim.AdamW(modules.parameters(), lr=stage.learning_rate, weight_decay=0.0)
    draws = random.Random(seed)
    steps = int(stage.epochs * len(given.truth) / BATCH)
    order: list[int] = []
    for step in range(steps):
        if len(order) < BATCH:
            order = list(range(len(given.truth)))
            draws.shuffle(order)
        chosen, order = order[:BATCH], order[BATCH:]
        for group in optimizer.param_groups:
            rise, fall = min(1.0, (step + 1) / stage.warmup), 0.5 * (1 + math.cos(math.pi * step / steps))
            group["lr"] = stage.learning_rate * rise * fall
        types, levels = modules([[p] for p in given.pictures[chosen]], given.text[chosen], given.asked[chosen])
        loss = functional.cross_entropy(types, given.truth[chosen, 0]) + functional.cross_entropy(
            levels, given.truth[chosen, 1]
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(modules.parameters(), 1.0)
        optimizer.step()
    return modules.eval()


@torch.no_grad()
def figures(modules: SafetyModules, given: Read) -> dict[str, Any]:
    types, levels = modules([[p] for p in given.pictures], given.text, given.asked)
    safe = risks.TAXONOMY.safe_type
    probabilities = joint(types, levels, safe)
    kinds = probabilities.sum(2).argmax(1)
    found = probabilities.argmax(2)[torch.arange(len(kinds)), kinds]
    flagged, risky = kinds != safe, given.truth[:, 0] != safe
    return {
        "type": classification(given.truth[:, 0].tolist(), kinds.tolist(), risks.TAXONOMY.types),
        "level": classification(given.truth[:, 1].tolist(), found.tolist(), risks.TAXONOMY.levels),
        "risky_flagged": rate(int((flagged & risky).sum()), int(risky.sum())),
        "safe_flagged": rate(int((flagged & ~risky).sum()), int((~risky).sum())),
        "parameters": sum(parameter.numel() for parameter in modules.parameters()),
    }


def main() -> None:
    results: dict[str, Any] = {"schema": 1, "train": TRAIN, "n": VALIDATION, "models": {}}
    for seed, name in enumerate(sys.argv[1:] or MODELS):
        vlm = replace(VLM.load(name), batch=64)
        learnt = read(vlm, risks.records("train", TRAIN, seed), 64)
        looked = read(vlm, risks.records("validation", VALIDATION, seed), 64)
        results["models"][name] = {}
        for what, variant in VARIANTS.items():
            found = figures(trained(vlm, learnt, variant, seed), looked)
            results["models"][name][what] = found
            print(name, what, found["type"]["accuracy"], found["level"]["accuracy"]["value"], flush=True)
    path = ROOT / "results" / "safevlm-heads.json"
    write_json(path, {**results, "provenance": provenance()})
    print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
