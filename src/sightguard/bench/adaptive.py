"""An attack that knows the defense against the same attack that does not: what a defense is worth when it is aimed at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sightguard.attacks.perturbed import falls_short
from sightguard.bench.against import paired
from sightguard.bench.costs import fired, has_gate
from sightguard.bench.figures import attacked, is_attack
from sightguard.bench.seen import Collected, Seen
from sightguard.bench.setting import Setting


def adaptive(
    collected: Collected,
    settings: Sequence[Setting],
    defenses: Sequence[str],
    failures: Mapping[tuple[str, str], str] | None = None,
) -> list[dict[str, Any]]:
    """Return for each adaptive setting x defense both rates and their difference, paired by the id of the question.

    A row is `failed`, with its `reasons`, where the attack that knows the defense succeeds less often than the one that does not, or is in
    `failures`. `static_gate` and `adaptive_gate` are the shares of prompts on which the defense acted.

    Args:
        collected: the answers.
        settings: of the run.
        defenses: of the run.
        failures: why an attack does not beat noise, by setting and defense (`sightguard.bench.noise.failures`).
    """
    by_name = {setting.name: setting for setting in settings}
    rows = []
    for setting in settings:
        if setting.static is None:
            continue
        for defense in defenses:
            knowing = by_id(collected, setting, defense)
            plain = by_id(collected, by_name[setting.static], defense)
            first, second = (
                {id: seen.success for id, seen in side.items() if seen.decided} for side in (knowing, plain)
            )
            if both := first.keys() & second.keys():
                short = falls_short([second[id] for id in both], [first[id] for id in both])
                reasons = [reason for reason in (short, (failures or {}).get((setting.name, defense), "")) if reason]
                rows.append(
                    {
                        "defense": defense,
                        "adaptive": setting.name,
                        "static": setting.static,
                        "adaptive_asr": (attacked(list(knowing.values())) or {}).get("asr"),
                        "static_asr": (attacked(list(plain.values())) or {}).get("asr"),
                        "adaptive_gate": _gate(setting, knowing),
                        "static_gate": _gate(by_name[setting.static], plain),
                        "failed": bool(reasons),
                        "reasons": reasons,
                        **paired(first, second),
                    }
                )
    return rows


def by_id(collected: Collected, setting: Setting, defense: str) -> dict[str, Seen]:
    """Return what a defense answered to the harmful requests of a setting, by the id of the question."""
    answers = collected.of(setting.name, defense) or {}
    return {seen.id: seen for seen in answers.values() if is_attack(seen, setting)}


def _gate(setting: Setting, answers: Mapping[str, Seen]) -> dict[str, Any] | None:
    return fired([(setting, seen) for seen in answers.values()]) if has_gate(answers.values()) else None
