"""Pictures with noise of an attack's size, asked as the attack's are: what noise does as well shows no attack.

An attack on the plain model is compared with noise before the plain model, one that knows the defense with noise before each defense. Noise of
one size is the same picture whoever is attacked, so attacks of that size on the same prompts share it. Its answers lie in a run of their own in
the run's folder: no table, no overall figure and no comparison of runs ever counts them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sightguard.bench.defenses import Defense
from sightguard.bench.pixels import FULL, MARK, OnModel
from sightguard.bench.plan import Plan, Planned
from sightguard.bench.suite import is_on_model
from sightguard.evaluate.folder import RunFolder
from sightguard.evaluate.rows import digest
from sightguard.evaluate.run import evaluate_to
from sightguard.types import Generate, Judge, Response, Sample

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM

FOLDER = "noise"


@dataclass(frozen=True, slots=True, kw_only=True)
class Noisy:
    """Noise of one size on the pictures of one set of harmful prompts."""

    planned: Planned
    """The first setting that is compared with it, its harmful prompts alone."""
    size: int
    """Of 255."""
    against: Mapping[str, tuple[str, ...]]
    """The settings under attack that are compared with it, and under which defenses each."""
    adaptive: frozenset[str] = frozenset()
    """Those of them whose attack knows the defense."""

    @property
    def name(self) -> str:
        return self.planned.setting.name

    @property
    def samples(self) -> tuple[Sample, ...]:
        return self.planned.samples

    @property
    def defenses(self) -> tuple[str, ...]:
        """Who is asked, each once."""
        return tuple(dict.fromkeys(name for names in self.against.values() for name in names))


def noises(plan: Plan, defenses: Sequence[str]) -> list[Noisy]:
    """Return the noise that a plan's attacks on pixels are compared with; nothing is loaded. Without harmful prompts there is nothing to compare."""
    found: dict[tuple[int, tuple[str, ...]], Noisy] = {}
    for one in plan.asked:
        harmful = tuple(sample for sample in one.samples if sample.harmful is True)
        for attack in [OnModel.of(name) for name in one.setting.attacks if is_on_model(name)]:
            if attack.kind == "icet" or not harmful:
                continue
            key = (attack.number, tuple(f"{sample.id}\t{digest(sample)}" for sample in harmful))
            held = found.get(key, Noisy(planned=replace(one, samples=harmful), size=attack.number, against={}))
            knows, setting = attack.kind == "pgd_adaptive", one.setting.name
            whom = tuple(name for name in defenses if knows or name == "none")
            adaptive = held.adaptive | ({setting} if knows else frozenset())
            found[key] = replace(held, against={**held.against, setting: whom}, adaptive=adaptive)
    return list(found.values())


@dataclass(frozen=True)
class Noise:
    """The noise of a run, and who answers to it.

    Args:
        asked: what.
        answers: by defense.
    """

    asked: Sequence[Noisy]
    answers: Mapping[str, Generate]

    @classmethod
    def of(cls, plan: Plan, vlm: VLM, made: Sequence[Defense], *, seed: int, batch: int) -> Noise:
        """Return the noise of a plan before the defenses of a run.

        Args:
            plan: what is asked.
            vlm: the undefended model, whose processor says how fine a picture is seen.
            made: the defenses.
            seed: of the attacks.
            batch: samples at once.
        """
        asked = noises(plan, [one.name for one in made])
        sizes = {one.name: one.size for one in asked}
        wanted = {name for one in asked for name in one.defenses}
        return cls(asked, {one.name: _Noised(one, vlm, sizes, seed, batch) for one in made if one.name in wanted})

    def ask(
        self,
        folder: Path,
        judge: Judge,
        *,
        batch: int,
        order: Callable[[Sequence[Sample]], Sequence[Sample]],
        progress: Callable[[str, int, int], None],
        begin: Callable[[RunFolder, Mapping[str, Sequence[Sample]]], object] | None = None,
    ) -> None:
        """Ask what is not answered yet, into `noise/` of a run's folder; nothing where no attack needs it.

        Args:
            folder: of the run.
            judge: the one that judges the run.
            batch: samples a call.
            order: how samples are put into batches.
            progress: called after each batch as `evaluate` does.
            begin: called with the run of noise and what it asks, before anything is asked.

        Raises:
            OutputError: as for `evaluate`.
        """
        if not self.asked:
            return
        settings = {one.name: [_marked(sample, one.name) for sample in order(one.samples)] for one in self.asked}
        left_out = [(name, one.name) for one in self.asked for name in self.answers if name not in one.defenses]
        against = {
            setting: {
                "noise": one.name,
                "size": one.size,
                "adaptive": setting in one.adaptive,
                "defenses": list(names),
            }
            for one in self.asked
            for setting, names in one.against.items()
        }
        evaluate_to(
            folder / FOLDER,
            self.answers,
            settings,
            judge,
            batch=batch,
            progress=progress,
            about={"against": against},
            resume=True,
            undefined=left_out,
            begin=None if begin is None else lambda run: begin(run, settings),
        )


@dataclass(frozen=True)
class _Noised:
    """A defense that is shown noise."""

    generate: Generate
    vlm: VLM
    sizes: Mapping[str, int]
    seed: int
    batch: int

    def __call__(self, samples: Sequence[Sample]) -> list[Response]:
        from sightguard.attacks.pgd import Pgd

        (size,) = {self.sizes[str(sample.meta[MARK])] for sample in samples}
        return self.generate(Pgd(eps=size / FULL, seed=self.seed, batch=self.batch).noise(self.vlm, samples))


def _marked(sample: Sample, setting: str) -> Sample:
    return replace(sample, meta={**sample.meta, MARK: setting})
