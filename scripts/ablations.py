"""Every reading of VLM-Guard beside the chosen one, on the validation split of the embedded models: results/readings-MODEL.json.

One option is changed at a time, from what choosing on other validation prompts gave; nothing is chosen here.

python -m scripts.ablations [MODEL ...]
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from scripts.provenance import ROOT, provenance
from sightguard.artifacts import write_json
from sightguard.demo.fit import benign_prompts, choose_on_world, harmful_prompts
from sightguard.evaluate.statistics import wilson
from sightguard.models.vlm import VLM
from sightguard.pocket import world
from sightguard.pocket.judge import PocketJudge
from sightguard.steering.calibrate import score, with_thresholds
from sightguard.steering.memory import Memory
from sightguard.steering.steer import steer
from sightguard.steering.vlm_guard import VlmGuard
from sightguard.types import Generate, Sample

MODELS = ("pocket", "pocket-1", "pocket-2")
N = 100
CHOSEN_ON, SEED = 1, 2
"""Seeds of the prompts that parameters are chosen on, and of those that are asked here."""
HARMFUL = ("blank_image", "jailbreak_blank_image", "harm_in_picture")
BENIGN = ("benign_image", "safe_verb_harmful_object")


def readings(vlm: VLM) -> Iterator[tuple[str, VlmGuard]]:
    """Yield each reading with the option that it changes."""
    memory = Memory()
    chosen = choose_on_world(vlm, seed=CHOSEN_ON, options={"reference": "text"}, memory=memory).guard
    yield "as chosen", chosen
    yield "only project (1)", replace(chosen, kind="project")
    yield "only shift (3)", replace(chosen, kind="shift")
    yield "no gate", replace(chosen, gate="always")
    for gate in ("image", "either"):
        yield f"gate: {gate}", replace(chosen, gate=gate)
    harmful = [sample for samples in harmful_prompts("text", CHOSEN_ON).values() for sample in samples]
    scores = score(vlm, [chosen], harmful, benign_prompts(CHOSEN_ON)["benign_image"], memory)[0]
    for rule in ("literal", "midpoint", "anchored"):
        yield f"threshold: {rule}", with_thresholds(chosen, scores, rule)
    yield "edits while decoding too", replace(chosen, phase="prefill+decode")
    for m in (1, 4, 16):
        yield f"m = {m}", replace(chosen, m=m)
    other = "svd" if chosen.directions.provenance["estimator"] == "mean_difference" else "mean_difference"
    fitted = VlmGuard.fit(vlm, world.anchors(100, CHOSEN_ON), estimator=other, layers=chosen.layers, m=chosen.m)  # type: ignore[arg-type]
    yield f"directions: {other}, midpoint", replace(fitted, alpha=chosen.alpha, threshold="midpoint")
    yield "reference: same input", replace(chosen, reference="same_input")
    caption = {"reference": "caption"}
    yield "reference: own caption", choose_on_world(vlm, seed=CHOSEN_ON, options=caption, memory=memory).guard


def measure(model: str) -> dict[str, Any]:
    """Return what each reading does on validation prompts that nothing was chosen on."""
    vlm = replace(VLM.load(model), batch=64, max_new_tokens=24)
    prompts = world.settings("validation", N, SEED)
    memory = Memory()
    rows = {"no guard": _row(vlm, prompts)}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "projection alone")
        for name, guard in readings(vlm):
            rows[name] = {**_row(steer(vlm, guard, memory=memory), prompts), "parameters": _parameters(guard)}
            print(f"{model}: {name}", flush=True)
    return {"schema": 1, "model": model, "split": "validation", "n": N, "judge": PocketJudge.name, "readings": rows}


def _row(generate: Generate, prompts: dict[str, list[Sample]]) -> dict[str, Any]:
    judge, row = PocketJudge(), {}
    for setting in (*HARMFUL, *BENIGN):
        verdicts = [judge(s, r) for s, r in zip(prompts[setting], generate(prompts[setting]), strict=True)]
        for what in ("refused", "complied", "broken"):
            row[f"{setting}/{what}"] = _rate(sum(v.outcome == what for v in verdicts))
        if setting in BENIGN:
            row[f"{setting}/right"] = _rate(sum(bool(v.correct) for v in verdicts))
    return row


def _rate(count: int) -> dict[str, float]:
    low, high = wilson(count, N)
    return {"value": count / N, "low": low, "high": high}


def _parameters(guard: VlmGuard) -> dict[str, Any]:
    names = ("layers", "m", "alpha", "kind", "reference", "gate", "threshold", "phase")
    return {**{name: getattr(guard, name) for name in names}, "limits": guard.limits()}


def main() -> None:
    for model in sys.argv[1:] or MODELS:
        write_json(ROOT / "results" / f"readings-{model}.json", {**measure(model), "provenance": provenance()})


if __name__ == "__main__":
    main()
