"""Whether each attack on pixels succeeds more often than noise of its size: if not, it is no attack, and its figure says nothing for a defense."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sightguard.attacks.perturbed import succeeds_beyond_noise
from sightguard.bench.adaptive import by_id
from sightguard.bench.against import paired
from sightguard.bench.figures import attacked
from sightguard.bench.noise import FOLDER
from sightguard.bench.seen import Collected, collect
from sightguard.bench.setting import Setting
from sightguard.evaluate.folder import MANIFEST, RunFolder
from sightguard.evaluate.rows import Row

Part = dict[str, Any]
UNDECIDED = "no question was decided both under the attack and under noise of the same size, so nothing shows that it is more than noise"


@dataclass(frozen=True)
class NoiseRows:
    """Answers to noise, and what is compared with them.

    Args:
        rows: as those of a run.
        against: by setting under attack: `noise`, the setting of the rows; `defenses`; `adaptive`, whether the attack knows them.
    """

    rows: Iterable[Row]
    against: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, folder: Path) -> Self | None:
        """Return those of a run's folder; None where noise was not asked."""
        run = RunFolder(folder / FOLDER)
        return cls(run.stream(), run.manifest["about"]["against"]) if (run.path / MANIFEST).is_file() else None


def beyond_noise(
    collected: Collected, noise: NoiseRows, settings: Sequence[Setting], losses: Mapping[str, Mapping[str, Any]]
) -> list[Part]:
    """Return for each attack x defense it was made against its success beside that of noise, and whether it failed.

    Args:
        collected: answers of the run.
        noise: answers to noise.
        settings: of the run.
        losses: what the manifest says of the attacks, by setting and defense.

    Raises:
        DataError: the answers to noise are not complete.
    """
    heard, rows = collect(noise.rows), []
    for setting in settings:
        told = noise.against.get(setting.name)
        for defense in told["defenses"] if told is not None else ():
            assert told is not None
            ours = by_id(collected, setting, defense)
            theirs = by_id(heard, Setting(name=told["noise"], kind=setting.kind), defense)
            first, second = ({id: seen.success for id, seen in side.items() if seen.decided} for side in (ours, theirs))
            sides = {
                f"{name}_asr": (attacked(list(side.values())) or {}).get("asr")
                for name, side in (("attack", ours), ("noise", theirs))
            }
            found = losses.get(setting.name, {}).get(defense, {})
            loss = {name: found.get(f"loss_{name}") for name in ("beats_noise", "p")}
            about = {"setting": setting.name, "defense": defense, "adaptive": told["adaptive"]}
            rows.append({**about, "note": found.get("note", ""), "loss": loss, **sides, **_verdict(first, second)})
    return rows


def failures(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """Return why attacks failed, by setting and the defense that they were made against."""
    return {(row["setting"], row["defense"]): row["reason"] for row in rows if row["failed"]}


def _verdict(attack: Mapping[str, bool], noise: Mapping[str, bool]) -> Part:
    both = sorted(attack.keys() & noise.keys())
    if not both:
        nothing = {"n": 0, "only_first": 0, "only_second": 0, "difference": None, "p": None}
        return {**nothing, "beats_noise": False, "failed": True, "reason": UNDECIDED}
    told = succeeds_beyond_noise([(attack[id], noise[id]) for id in both])
    return {**paired(attack, noise), "beats_noise": told.beats, "failed": not told.beats, "reason": told.failed}
