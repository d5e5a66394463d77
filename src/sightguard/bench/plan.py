"""What a run will ask: the settings of a suite as samples, where they are from, and what could not be read."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightguard.bench.own import Own
from sightguard.bench.suite import Column, Suite, is_on_model
from sightguard.data.benchmark import Benchmark
from sightguard.data.benchmarks import benchmark
from sightguard.errors import DataError
from sightguard.types import Attack, Sample

OWN = 300
"""Prompts of each setting of a model's own data, where nothing limits them: its world makes as many as are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One setting with its samples."""

    setting: Column
    samples: tuple[Sample, ...]
    plain: tuple[Sample, ...]
    """The same questions in the same order, as they are before the attacks."""
    source: str
    """Where they are from, as the table says it."""
    about: Mapping[str, Any]
    """Licence, revision, hashes, the official metric; how many could not be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Every setting that is asked, and those that are not, with the reason."""

    suite: Suite
    asked: tuple[Planned, ...]
    left_out: Mapping[str, str]

    @property
    def samples(self) -> int:
        return sum(len(one.samples) for one in self.asked)

    def settings(self) -> dict[str, tuple[Sample, ...]]:
        """Return the samples by setting."""
        return {one.setting.name: one.samples for one in self.asked}


def plan(
    suite: Suite,
    own: Own | None,
    *,
    data: Path | None = None,
    attack: Callable[[str], Attack],
    limit: int | None = None,
    seed: int = 0,
    skip_missing: bool = False,
) -> Plan:
    """Read what a suite asks.

    Args:
        suite: its settings.
        own: the model's own data, if it brings any.
        data: folder of benchmarks; None: where `sightguard pull` put them.
        attack: attacks by name.
        limit: prompts of each setting at most; None: what the suite says.
        seed: of the draw where there are more.
        skip_missing: leave out settings whose benchmark is not there, and say so, instead of ending.

    Raises:
        DataError: benchmarks that are not there, all of them with how to get them.
    """
    most = limit or suite.limit
    asked, left_out, missing = [], {}, {}
    of_world = dict(own.settings(most or OWN, seed)) if own else {}
    for setting in suite.settings:
        if own is not None:
            if setting.own is not None and setting.own in of_world:
                asked.append(_planned_own(setting, own, of_world[setting.own]))
            else:
                left_out[setting.name] = _has_not(own, setting, of_world)
        elif setting.benchmark is None:
            left_out[setting.name] = "asked only of models that bring their own data"
        else:
            try:
                asked.append(_planned(setting, _read(setting, data), attack, most, seed))
            except DataError as error:
                missing[setting.name] = str(error)
    if missing and not skip_missing:
        told = "\n  ".join(f"{name}: {reason}" for name, reason in missing.items())
        raise DataError(
            f"{len(missing)} settings of {suite.name!r} cannot be asked (--skip-missing leaves them out):\n  {told}"
        )
    left_out |= missing
    if not asked:
        raise DataError(
            f"nothing of the suite {suite.name!r} can be asked: {'; '.join(f'{name}: {why}' for name, why in left_out.items())}"
        )
    return Plan(suite=suite, asked=tuple(asked), left_out=left_out)


def _has_not(own: Own, setting: Column, of_world: Iterable[str]) -> str:
    if setting.own is None:
        return f"{own.name} has nothing of the kind"
    return f"{own.name} has no setting {setting.own!r}; it has {', '.join(of_world)}"


def _planned_own(setting: Column, own: Own, samples: Sequence[Sample]) -> Planned:
    assert setting.own is not None
    few = samples[: setting.limit] if setting.limit else samples
    return Planned(
        setting=setting,
        samples=tuple(few),
        plain=tuple(own.plain(setting.own, few)),
        source=own.name,
        about={"benchmark": own.name, "own": setting.own, "n_read": len(samples)},
    )


def _read(setting: Column, data: Path | None) -> Benchmark:
    assert setting.benchmark is not None
    return benchmark(setting.benchmark, data=data, **setting.options)


def _planned(
    setting: Column, found: Benchmark, attack: Callable[[str], Attack], most: int | None, seed: int
) -> Planned:
    limits = [limit for limit in (most, setting.limit) if limit]
    fitting = [sample for sample in found.samples if _fits(sample, setting.kinds)]
    if not fitting:
        raise DataError(
            f"{found.name!r} holds {len(found.samples)} samples and none of the kind {' or '.join(setting.kinds)}"
        )
    plain = few = _drawn(fitting, min(limits) if limits else None, f"{setting.name}|{seed}")
    for name in setting.attacks:
        few = few if is_on_model(name) else tuple(map(attack(name), few))
    about = found.about
    told = {
        "benchmark": setting.benchmark,
        "title": about.title,
        "paper": about.paper,
        "licence": about.licence,
        "revision": about.revision,
        "sha256": dict(about.sha256),
        "metric": about.metric,
        "n_read": len(found.samples),
        "n_missing": len(found.missing),
        "attacks": list(setting.attacks),
    }
    return Planned(setting=setting, samples=few, plain=plain, source=f"{found.name} ({about.source})", about=told)


def _fits(sample: Sample, kinds: Sequence[str]) -> bool:
    """Return whether a sample is of a setting's kinds: many benchmarks hold harmful and harmless ones side by side."""
    if "harmful" in kinds:
        return sample.harmful is not False
    return sample.harmful is not True and ("over-refusal" in kinds or "answer" in sample.meta)


def _drawn(samples: Sequence[Sample], most: int | None, key: str) -> tuple[Sample, ...]:
    """Return at most so many samples, drawn evenly over the whole set, in its order."""
    if most is None or len(samples) <= most:
        return tuple(samples)
    chosen = sorted(random.Random(key).sample(range(len(samples)), most))
    return tuple(samples[i] for i in chosen)
