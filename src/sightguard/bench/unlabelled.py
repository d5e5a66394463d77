"""Prompts that a benchmark calls neither harmful nor harmless: a refusal of them is neither right nor wrong, so they count in no rate of either."""

from __future__ import annotations

from collections.abc import Collection

from sightguard.bench.figures import is_attack, is_benign
from sightguard.bench.seen import Answers
from sightguard.bench.setting import Setting


def unlabelled(prompts: Answers, setting: Setting, known: Collection[str]) -> dict[str, int]:
    """Return how many prompts of a setting have no label (`n`), and how many of those count for utility, since their right answer is known."""
    found = [
        prompt for prompt, seen in prompts.items() if not is_attack(seen, setting) and not is_benign(seen, setting)
    ]
    return {"n": len(found), "in_utility": sum(prompt in known for prompt in found)}
