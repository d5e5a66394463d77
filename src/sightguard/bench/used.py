"""What a defense was fitted and chosen on, so that a run can show that its test prompts are others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sightguard.artifacts import read_json
from sightguard.bench.context import Context
from sightguard.types import Sample

RECORD = "fitted.json"
"""Beside guard.json: what the guard was fitted with, so that a run that goes on knows whether it is its own."""


@dataclass(frozen=True, slots=True)
class Used:
    """The questions that a defense has seen, as they are before a picture or a wrapper is put around them."""

    fit: tuple[Sample, ...] = field(default=(), repr=False)
    """What it was fitted on."""
    calibration: tuple[Sample, ...] = field(default=(), repr=False)
    """What its parameters and thresholds were chosen on."""
    known: bool = True
    """Whether these are all: nobody can tell of a guard from elsewhere."""

    @property
    def all(self) -> tuple[Sample, ...]:
        return self.fit + self.calibration


NOTHING, UNKNOWN = Used(), Used(known=False)


def used(name: str, context: Context) -> Used:
    """Return what fitting the guard of this name looks at.

    Of a guard that lies in a folder this is known where its record has the digests of the prompts that the context has; a record that has
    others, or none, as that of `sightguard fit`, tells nothing that could be compared.
    """
    if name in context.folders:
        same = _alike(name, Path(context.folders[name]), context)
        return UNKNOWN if same is None else used(name, same)
    pairs = context.anchors()
    if not name.startswith("vlm_guard"):
        return Used(_sides(pairs))
    spared = context.clean()[::2] if name == "vlm_guard_null_space" else []
    if context.own_world:
        return Used((*_sides(pairs), *spared), _of_the_world(name, context.seed))
    from sightguard.steering.recipe import split

    fitted, chosen = split(pairs, context.seed)
    clean = context.clean()[1::2] if spared else context.clean()
    return Used((*_sides(fitted), *spared), (*_sides(chosen), *clean))


def _of_the_world(name: str, seed: int) -> tuple[Sample, ...]:
    """Return the validation prompts of the embedded models' world that a guard is chosen on."""
    from sightguard.demo.fit import benign_prompts, harmful_prompts
    from sightguard.pocket.world import without_attack

    reference = "caption" if name == "vlm_guard_caption" else "text"
    asked = {**harmful_prompts(reference, seed), **benign_prompts(seed)}
    return tuple(sample for setting, samples in asked.items() for sample in without_attack(setting, samples))


def _alike(name: str, folder: Path, context: Context) -> Context | None:
    """Return the context that a guard in a folder was fitted in, if its record says that it is one like this; otherwise None."""
    if not (folder / RECORD).is_file():
        return None
    record = read_json(folder / RECORD)
    folders = {one: place for one, place in context.folders.items() if one != name}
    same = replace(context, folders=folders, seed=_seed(record, context.seed))
    return same if record == {"defense": name, **same.about()} else None


def _seed(record: dict[str, Any], otherwise: int) -> int:
    seed = record.get("seed")
    return seed if isinstance(seed, int) else otherwise


def _sides(pairs: Iterable[tuple[Sample, Sample]]) -> tuple[Sample, ...]:
    return tuple(sample for pair in pairs for sample in pair)
