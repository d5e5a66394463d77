"""A finished run as it is compared with others: its answers without their texts, and what it was made with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sightguard.bench.results import settings_of
from sightguard.bench.seen import Collected, collect
from sightguard.bench.setting import Setting
from sightguard.evaluate.folder import RunFolder


@dataclass(frozen=True, slots=True)
class Loaded:
    """One run folder."""

    label: str
    """The folder as it was named."""
    manifest: Mapping[str, Any]
    settings: Mapping[str, Setting]
    collected: Collected

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Read a run folder.

        Raises:
            DataError: no run, a run that is not complete, or a damaged one.
        """
        run = RunFolder(folder)
        manifest = run.manifest
        settings = {setting.name: setting for setting in settings_of(manifest)}
        return cls(str(folder), manifest, settings, collect(run.stream()))

    @property
    def judges(self) -> tuple[str, ...]:
        """Who judged, by the rows themselves."""
        return self.collected.judges

    @property
    def configuration(self) -> dict[str, Any]:
        """What the run was made with, by name; what was asked is left out, since prompts are lined up one by one.

        So is what attacks found, which manifests of earlier versions tell.
        """
        about = {
            name: value for name, value in self.manifest.get("about", {}).items() if name not in ("settings", "attacks")
        }
        parts = {"judge": ", ".join(self.judges), "batch": self.manifest.get("batch"), **about}
        return _flat({**parts, "environment": self.manifest.get("environment", {})})


def differing(runs: Sequence[Loaded]) -> list[dict[str, Any]]:
    """Return what is not the same in all runs: its name, and each run's value in order; None where a run does not say."""
    told = [run.configuration for run in runs]
    names = dict.fromkeys(name for one in told for name in one)
    rows = [{"what": name, "values": [one.get(name) for one in told]} for name in names]
    return [row for row in rows if any(value != row["values"][0] for value in row["values"])]


def lined_up(first: Loaded, second: Loaded) -> tuple[list[tuple[str, str]], list[dict[str, str]]]:
    """Return the (setting, defense) that both runs asked, and those that one alone did, with the run that lacks them."""
    ours, theirs = (dict.fromkeys(_asked(run)) for run in (first, second))
    both = [asked for asked in ours if asked in theirs]
    alone = [
        {"setting": setting, "defense": defense, "missing_in": run.label}
        for one, other, run in ((ours, theirs, second), (theirs, ours, first))
        for setting, defense in one
        if (setting, defense) not in other
    ]
    return both, alone


def _asked(run: Loaded) -> Iterable[tuple[str, str]]:
    for setting in run.settings:
        for defense in run.manifest["conditions"]:
            if run.collected.of(setting, defense) is not None:
                yield setting, defense


def _flat(value: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, inner in value.items():
        found |= _flat(inner, f"{above}{name}.") if isinstance(inner, Mapping) else {f"{above}{name}": inner}
    return found
