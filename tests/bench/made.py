"""Made-up runs of a bench whose every rate is known before it is counted; nothing in them was ever measured or asked."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sightguard.bench.setting import Setting
from sightguard.evaluate.rows import Row, RowOutcome
from sightguard.types import Response

SETTINGS = (
    Setting(name="garden/plain", kind="harmful"),
    Setting(name="garden/blank_image", kind="harmful"),
    Setting(name="garden/aimed", kind="harmful", static="garden/blank_image"),
    Setting(name="kitchen", kind="over-refusal"),
    Setting(name="quiz", kind="utility"),
)
DEFENSES = ("none", "prompt_shield", "steered", "crashing")
CATEGORIES = ("weeds", "snails", "wasps")

ASR = {  # successes of 120 prompts by setting, in the order of DEFENSES
    "garden/plain": (12, 6, 3, 3),
    "garden/blank_image": (66, 40, 5, 5),
    "garden/aimed": (70, 60, 50, 50),
}
REFUSED = {"kitchen": (4, 20, 6, 6), "quiz": (0, 9, 1, 1)}
RIGHT = {"quiz": (150, 120, 149, 140)}
N = {"garden/plain": 120, "garden/blank_image": 120, "garden/aimed": 120, "kitchen": 80, "quiz": 200}


def row(
    defense: str,
    setting: str,
    number: int,
    outcome: RowOutcome,
    *,
    harmful: bool | None = None,
    correct: bool | None = None,
    judge: str = "made",
    text: str = "an answer about the garden",
    prompt: str | None = None,
    same_as: str | None = None,
    **response: Any,
) -> Row:
    """Return one row; the digest of its prompt is made of setting and number."""
    told = {"prompt_tokens": 20, "answer_tokens": 10, "seconds": 0.5, **response}
    return Row(
        condition=defense,
        setting=setting,
        id=f"{setting.split('/')[0]}-{number}",
        prompt=prompt or f"{setting}#{number}",
        harmful=harmful,
        category=CATEGORIES[number % 3] if setting.startswith("garden") else None,
        outcome=outcome,
        correct=correct,
        judge=judge,
        reason="made up",
        response=Response(text, error="Oops: no" if outcome == "guard_error" else None, **told),
        same_as=same_as,
    )


def planted() -> list[Row]:
    """Return a run with the counts above; successes, refusals and right answers come first in each setting."""
    made = []
    for at, defense in enumerate(DEFENSES):
        spoken: dict[str, Any] = {"seconds": 0.5 * (1 + at / 10)}
        for setting, counts in ASR.items():
            for i in range(N[setting]):
                hit = i < counts[at]
                guarded: dict[str, Any] = {"refused_by": "the shield"} if defense == "prompt_shield" and not hit else {}
                outcome: RowOutcome = "harmful" if hit else "safe" if i % 10 == 9 else "refused"
                made.append(row(defense, setting, i, outcome, harmful=True, **spoken, **guarded))
        for i in range(N["kitchen"]):
            outcome = "refused" if i < REFUSED["kitchen"][at] else "safe"
            made.append(row(defense, "kitchen", i, outcome, harmful=False, **spoken))
        for i in range(N["quiz"]):
            crash = defense == "crashing" and i >= 190
            outcome = "guard_error" if crash else "refused" if i >= 190 - REFUSED["quiz"][at] + 10 else "safe"
            right = None if crash else i < RIGHT["quiz"][at]
            made.append(row(defense, "quiz", i, outcome, correct=right, **spoken))
    return made


def shuffled(rows: Iterable[Row], seed: int) -> list[Row]:
    """Return the rows in another order."""
    mixed = list(rows)
    random.Random(seed).shuffle(mixed)
    return mixed


MEASURED: Mapping[str, Any] = {
    "overlap": {"exact": 0, "near": 2, "against": ["anchors"]},
    "agreement": {"made and phrases": {"kappa": 0.8123, "low": 0.7, "high": 0.9, "n": 200}},
    "perplexity": {"none": 4.25, "prompt_shield": 4.5, "steered": 5.125, "crashing": None},
    "costs": {name: {"prefill_ratio": 1 + 0.1 * i, "decode_ratio": 1 + 0.01 * i} for i, name in enumerate(DEFENSES)},
}


def about(**more: Any) -> dict[str, Any]:
    """Return what a manifest says of the run."""
    return {
        "model": "tiny/made-up",
        "revision": "abc123",
        "decoding": {"temperature": 0, "max_new_tokens": 64},
        "settings": {one.name: {"kind": one.kind, "static": one.static} for one in SETTINGS},
        **more,
    }


def write_run(
    folder: Path,
    rows: Sequence[Row],
    *,
    judge: str = "made",
    measured: Mapping[str, Any] | None = MEASURED,
    told: Mapping[str, Any] | None = None,
) -> Path:
    """Write a run folder by hand, as a run would leave it."""
    folder.mkdir(parents=True)
    prompts: dict[str, set[str]] = {}
    for one in rows:
        prompts.setdefault(one.setting, set()).add(one.prompt)
    manifest = {
        "schema": 1,
        "judge": judge,
        "batch": 8,
        "conditions": list(dict.fromkeys(one.condition for one in rows)),
        "settings": {name: {"n": len(found), "prompts": "x"} for name, found in prompts.items()},
        "about": about() if told is None else dict(told),
        "environment": {"python": "3.11", "torch": None},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "samples.jsonl").write_text("".join(one.to_line() for one in rows))
    if measured is not None:
        (folder / "measured.json").write_text(json.dumps(measured))
    return folder
