"""Perplexity of the answers to benign prompts under the undefended model: a defense that breaks the language breaks it here too."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sightguard.bench.figures import is_benign
from sightguard.bench.results import settings_of
from sightguard.bench.seen import Seen
from sightguard.evaluate.folder import RunFolder
from sightguard.types import Sample

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM

MOST = 200
"""Answers of each defense."""
Place = tuple[str, str]
"""Setting and id of a prompt."""


def fluent(
    vlm: VLM, run: RunFolder, asked: Mapping[str, Sequence[Sample]], *, seed: int = 0, most: int = MOST
) -> dict[str, Any]:
    """Return `perplexity`, by defense, and what it was taken over, `fluency`.

    The model reads the words of a prompt, without pictures, and the answer behind them; the loss is averaged over all tokens of all answers.
    Every defense's answers to the same prompts are read, whoever gave them; empty ones and crashes are left out and counted.

    Args:
        vlm: the undefended model.
        run: one that is done.
        asked: its samples, by setting.
        seed: of the draw where there are more than `most` prompts.
        most: distinct prompts that are read.
    """
    from sightguard.demo.fluency import fluency

    places, settings = _drawn(run, seed, most)
    samples = {(name, sample.id): sample for name, part in asked.items() for sample in part}
    texts, crashed = _texts(run, set(places))
    found = fluency(
        vlm,
        [samples[place] for place in places],
        {name: [part[place] for place in places] for name, part in texts.items()},
    )
    return {
        "perplexity": {
            name: one.perplexity if one.perplexity is not None and math.isfinite(one.perplexity) else None
            for name, one in found.items()
        },
        "fluency": {
            "settings": settings,
            "prompts": len(places),
            "answers": {
                name: {
                    "n": one.n,
                    "empty": sum(not text for text in texts[name].values()) - crashed[name],
                    "crashed": crashed[name],
                }
                for name, one in found.items()
            },
        },
    }


def _drawn(run: RunFolder, seed: int, most: int) -> tuple[list[Place], list[str]]:
    """Return the prompts that are read, each once however many settings ask it, and the settings that they are of."""
    kinds = {setting.name: setting for setting in settings_of(run.manifest)}
    found: dict[str, Place] = {}
    for row in run.stream():
        if is_benign(Seen.of(row), kinds[row.setting]):
            found[row.prompt] = min(found.get(row.prompt, (row.setting, row.id)), (row.setting, row.id))
    places = sorted(set(found.values()))
    if len(places) > most:
        places = sorted(random.Random(f"perplexity|{seed}").sample(places, most))
    return places, sorted({setting for setting, _ in places})


def _texts(run: RunFolder, places: set[Place]) -> tuple[dict[str, dict[Place, str]], Counter[str]]:
    """Return each defense's answers to the prompts, nothing where it crashed, and how often it did."""
    texts: dict[str, dict[Place, str]] = {name: {} for name in run.manifest["conditions"]}
    crashed: Counter[str] = Counter()
    for row in run.stream():
        if (row.setting, row.id) in places:
            texts[row.condition][row.setting, row.id] = row.response.text if row.response.error is None else ""
            crashed[row.condition] += row.response.error is not None
    return texts, crashed
