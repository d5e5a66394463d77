"""Attacks of a suite that need the model: PGD on pixels, against the plain model or each defense, and an early exit of the vision tower.

    pgd:8             pixels are moved by at most 8 of 255 against the undefended model, and every defense is shown the same pictures
    pgd_adaptive:8    gradients go through each defense, which is shown what was made against it
    icet:4            the vision tower ends after 4 blocks

What was found is kept in the run's folder, so that a run that goes on does not look for it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightguard.artifacts import read_json, write_bytes, write_json
from sightguard.bench.context import Context
from sightguard.bench.defenses import Defense, parts
from sightguard.bench.made_for import answered_in, is_made_for, made_for, refuse_mixed
from sightguard.bench.own import own_data
from sightguard.bench.plan import Plan, Planned
from sightguard.bench.suite import is_on_model, static_of
from sightguard.errors import DataError, UsageError
from sightguard.types import Generate, Image, Response, Sample

if TYPE_CHECKING:
    from sightguard.attacks.perturbed import Perturbed
    from sightguard.models.vlm import VLM

FULL = 255
STEPS = 40
FOLDER = "attacks"
MARK = "attacked"
"""In a sample's `meta`: the setting under whose attack it is asked."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class OnModel:
    """One such attack: its kind and its number."""

    kind: str
    number: int

    @classmethod
    def of(cls, name: str) -> OnModel:
        """Read "pgd:8".

        Raises:
            UsageError: no number behind the colon.
        """
        kind, _, number = name.partition(":")
        if not number.isdigit():
            raise UsageError(
                f"the attack {name!r} takes a number: pgd:EPS and pgd_adaptive:EPS in steps of 255, icet:LAYER"
            )
        return cls(kind, int(number))


def attacked(
    plan: Plan, vlm: VLM, made: Sequence[Defense], context: Context, folder: Path, *, batch: int, progress: Progress
) -> tuple[Plan, dict[str, Generate], dict[str, Any]]:
    """Return the plan with its samples marked, who answers under the attacks, and what the attacks found.

    Args:
        plan: what is asked.
        vlm: the undefended model.
        made: the defenses.
        context: what they were made from.
        folder: of the run.
        batch: samples a pass of an attack.
        progress: called with (stage, done, of so many).

    Raises:
        DataError: a sample without a picture.
        UsageError: two such attacks on one setting.
    """
    columns = [one.setting for one in plan.asked]
    swaps: dict[str, dict[tuple[str, str], Sample]] = {one.name: {} for one in made}
    exits: dict[str, int] = {}
    told: dict[str, Any] = {}
    asked = []
    answers_there = answered_in(folder)
    for one in plan.asked:
        names = [name for name in one.setting.attacks if is_on_model(name)]
        if len(names) > 1:
            raise UsageError(
                f"the setting {one.setting.name!r} names {' and '.join(names)}; one attack on the model at a time"
            )
        asked.append(_marked(one) if names else one)
        if not names:
            continue
        attack = OnModel.of(names[0])
        if attack.kind == "icet":
            exits[one.setting.name] = attack.number
            continue
        twin = static_of(one.setting, columns) or one.setting.name
        found = _found(attack, one, twin, vlm, made, context, folder / FOLDER, batch, progress, answers_there)
        told[one.setting.name] = {name: _summary(results) for name, results in found.items()}
        for defense in made:
            results = found.get(defense.name, found.get("none", []))
            pairs = zip(one.samples, results, strict=True)
            swaps[defense.name] |= {(one.setting.name, sample.id): result.sample for sample, result in pairs}
    answers: dict[str, Generate] = {one.name: _Attacked(one, vlm, swaps[one.name], exits) for one in made}
    return replace(plan, asked=tuple(asked)), answers, told


@dataclass(frozen=True)
class _Attacked:
    """A defense that is asked what an attack made of each sample."""

    generate: Generate
    vlm: VLM
    swaps: Mapping[tuple[str, str], Sample]
    exits: Mapping[str, int]

    def __call__(self, samples: Sequence[Sample]) -> list[Response]:
        settings = {str(sample.meta.get(MARK, "")) for sample in samples}
        assert len(settings) == 1, settings  # a batch is of one setting
        (setting,) = settings
        asked = [self.swaps.get((setting, sample.id), sample) for sample in samples]
        if setting not in self.exits:
            return self.generate(asked)
        from sightguard.attacks.icet import EarlyExit

        return EarlyExit(self.vlm, self.exits[setting])(self.generate)(asked)


def _marked(one: Planned) -> Planned:
    return replace(one, samples=tuple(replace(s, meta={**s.meta, MARK: one.setting.name}) for s in one.samples))


def _found(
    attack: OnModel,
    one: Planned,
    twin: str,
    vlm: VLM,
    made: Sequence[Defense],
    context: Context,
    folder: Path,
    batch: int,
    progress: Progress,
    answers: Collection[tuple[str, str]],
) -> dict[str, list[Perturbed]]:
    """Return what the attack found, by the defense that it was made against."""
    from sightguard.attacks.adaptive import adaptive, blind, surfaces_of
    from sightguard.attacks.pgd import Pgd
    from sightguard.attacks.soft import DECOYS

    for sample in one.samples:
        if not sample.images:
            raise DataError(
                f"sample {sample.id!r} of {one.setting.name!r} holds no picture whose pixels could be moved. Put blank before pgd."
            )
    options = Pgd(eps=attack.number / FULL, steps=STEPS, seed=context.seed, batch=batch)
    against = made if attack.kind == "pgd_adaptive" else [defense for defense in made if defense.name == "none"]
    own = own_data(context.model)
    found = {}
    for defense in against:
        stage = f"{one.setting.name} against {defense.name}"
        surfaces = surfaces_of(vlm, _value(defense, context), decoys=own.decoys if own else DECOYS)
        # what does not depend on the defense is looked for once: by the static attack, where the suite has it
        alike = blind(surfaces)
        place = folder / (twin if alike else one.setting.name) / ("none" if alike else defense.name)
        wanted = made_for(vlm, None if alike else defense, context, one.samples, _target)
        kept = _kept(place, one.samples, asdict(options), partial(is_made_for, wanted=wanted, answered=bool(answers)))
        if kept is None:
            refuse_mixed(place, one.setting.name, answers)
            began = time.perf_counter()
            kept = adaptive(
                surfaces,
                one.samples,
                _target,
                options,
                progress=partial(progress, stage),
            )
            passes = len(one.samples) * STEPS * len(surfaces)
            _keep(place, kept, asdict(options), {"passes": passes, "seconds": time.perf_counter() - began}, wanted)
        found[defense.name] = [replace(result, note=result.note or surfaces[0].note) for result in kept]
    return found


def _target(sample: Sample) -> str:
    """Return what the answer is to begin with."""
    from sightguard.attacks.pgd import TARGET

    return str(sample.meta.get("helpful", TARGET))


def _value(defense: Defense, context: Context) -> Any:
    """Return what gradients can go through: the guard of one part, the steered model or SafeVLM; a stack is a black box."""
    names = parts(defense.name)
    if defense.name == "none":
        return None
    if len(names) > 1:
        return defense.generate
    guard = names[0].guard
    return guard(context) if guard is not None else getattr(defense.generate, "__self__", defense.generate)


def seconds_of_a_pass(folder: Path) -> float | None:
    """Return how long a pass of one sample forwards and backwards took in the attacks of a run; None where it made none."""
    made = [read_json(path, schema=1).get("gradients") for path in sorted((folder / FOLDER).rglob("found.json"))]
    passes, seconds = (sum(one[name] for one in made if one) for name in ("passes", "seconds"))
    return seconds / passes if passes else None


def _keep(
    place: Path,
    results: Sequence[Perturbed],
    options: Mapping[str, Any],
    gradients: Mapping[str, float],
    wanted: Mapping[str, str],
) -> None:
    (place / "found.json").unlink(missing_ok=True)  # what it says of other pictures must not stand beside these
    for number, result in enumerate(results):
        write_bytes(place / f"{number:05d}.png", result.sample.images[-1].read())
    rows = [{"id": result.sample.id, "note": result.note, **_losses(result)} for result in results]
    write_json(
        place / "found.json",
        {"schema": 1, "made_for": dict(wanted), "options": dict(options), "gradients": dict(gradients), "found": rows},
    )


def _kept(
    place: Path, samples: Sequence[Sample], options: Mapping[str, Any], is_ours: Callable[[Mapping[str, Any]], bool]
) -> list[Perturbed] | None:
    from sightguard.attacks.level import with_last_picture
    from sightguard.attacks.perturbed import Perturbed

    if not (place / "found.json").is_file():
        return None
    told = read_json(place / "found.json", schema=1)
    if (
        not is_ours(told)
        or told["options"] != dict(options)
        or [row["id"] for row in told["found"]] != [sample.id for sample in samples]
    ):
        return None
    found = []
    for number, (sample, row) in enumerate(zip(samples, told["found"], strict=True)):
        kept = Image(data=(place / f"{number:05d}.png").read_bytes())
        changed = with_last_picture(sample, partial(_instead, kept))
        found.append(Perturbed(changed, note=row["note"], **{name: row[name] for name in LOSSES}))
    return found


def _instead(found: Image, picture: Image) -> Image:
    return found


LOSSES = ("loss_before", "loss_after_float", "loss_after_png", "loss_noise")


def _losses(result: Perturbed) -> dict[str, float]:
    return {name: getattr(result, name) for name in LOSSES}


def _summary(results: Sequence[Perturbed]) -> dict[str, Any]:
    """Return what the manifest says of an attack: its losses, and whether they beat those of noise; whether it succeeds is not known yet."""
    from sightguard.attacks.perturbed import beats_noise

    told = beats_noise(results)
    means = {name: sum(_losses(one)[name] for one in results) / len(results) for name in LOSSES}
    return {
        "n": len(results),
        **means,
        "loss_beats_noise": told.beats,
        "loss_p": told.p,
        "note": next(_notes(results), ""),
    }


def _notes(results: Sequence[Perturbed]) -> Iterator[str]:
    return (one.note for one in results if one.note)
