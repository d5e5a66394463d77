"""What is asked in one setting: a benchmark, as it is or under an attack."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from sightguard.errors import DataError

SettingKind = Literal["harmful", "over-refusal", "utility", "mixed"]
PLAIN = "plain"
"""The attack of a setting that has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting of a run, named "benchmark/attack" where nothing else tells its benchmark.

    `kind` says what is meant where a row does not say whether its request is harmful: harmless in "over-refusal" and "utility", unknown in
    the others, where such a prompt counts for utility alone.
    """

    name: str
    kind: SettingKind = "mixed"
    static: str | None = None
    """For an adaptive attack: the setting that asks the same, by id, under an attack that does not know the defense."""
    benchmark: str = ""
    """Whose questions it asks: an id is one question in all settings of a benchmark. Where it is not told, the name as far as its slash."""

    def __post_init__(self) -> None:
        if not self.benchmark:
            object.__setattr__(self, "benchmark", self.name.split("/", 1)[0])

    @property
    def attack(self) -> str:
        return self.name.split("/", 1)[1] if "/" in self.name else PLAIN

    @classmethod
    def of(cls, name: str, told: Mapping[str, Any]) -> Self:
        """Read a setting from a manifest's `about.settings`; what it does not tell keeps its default.

        Raises:
            DataError: no such kind, or a benchmark that is no name.
        """
        kind = told.get("kind", "mixed")
        if kind not in get_args(SettingKind):
            raise DataError(
                f"setting {name!r} has the kind {kind!r}; expected one of {', '.join(get_args(SettingKind))}. Correct the manifest."
            )
        benchmark = told.get("benchmark") or ""
        if not isinstance(benchmark, str):
            raise DataError(f"setting {name!r} has the benchmark {benchmark!r}; expected a name. Correct the manifest.")
        return cls(name=name, kind=kind, static=told.get("static"), benchmark=benchmark)


def check_pairs(settings: Collection[Setting]) -> None:
    """Raise DataError where the static counterpart of an adaptive setting is not in the run."""
    names = {setting.name for setting in settings}
    for setting in settings:
        if setting.static is not None and setting.static not in names - {setting.name}:
            raise DataError(
                f"setting {setting.name!r} is compared with {setting.static!r}, which is not among the other settings: "
                f"{', '.join(sorted(names - {setting.name}))}. Ask both in one run."
            )
