"""What asking the judges came to, over all processes of a run: a run that is taken up again adds to what was there.

It is on disk after each batch. A process that is killed loses the count of the batch in hand; the replies to it are in the file of replies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightguard.artifacts import read_json, write_json

FILE = "asking.json"
SCHEMA = 1
COUNTS = ("asked", "cached", "failed", "not_asked")

Model = Mapping[str, Any]
"""What `Metered.report` says of one model."""


@dataclass(slots=True)
class Bill:
    """The counts of earlier processes and of this one.

    Args:
        path: the file.
        report: what asking came to in this process, by model (`sightguard.bench.judges.options.Options.report`).
        earlier: what the file said when this process began.
    """

    path: Path
    report: Callable[[], Mapping[str, Model]]
    earlier: Mapping[str, Any]
    _written: dict[str, Any] | None = None

    @classmethod
    def read(cls, folder: Path, report: Callable[[], Mapping[str, Model]] = dict) -> Bill:
        """Return the bill of a run folder, with what its earlier processes came to.

        Raises:
            ArtifactError: the file is damaged.
        """
        path = folder / FILE
        return cls(path, report, read_json(path, schema=SCHEMA) if path.is_file() else {})

    @property
    def spent(self) -> float:
        """Money that earlier processes spent."""
        return float(self.earlier.get("spent", 0.0))

    def told(self) -> dict[str, Any] | None:
        """Return what asking came to so far, as JSON; None where no model was asked."""
        now = {name: told for name, told in self.report().items() if any(told[what] for what in COUNTS)}
        models = {**self.earlier.get("models", {})}
        for name, told in now.items():
            models[name] = _sum(models.get(name, {}), told)
        if not models:
            return None
        money = {"spent": sum(one["spent"] for one in models.values())} if _priced(models) else {}
        limits = [told["max_spend"] for told in now.values() if "max_spend" in told] or [self.earlier.get("max_spend")]
        return {
            **{what: sum(one[what] for one in models.values()) for what in COUNTS},
            **money,
            "max_spend": limits[0],
            "cap_reached": any(one["cap_reached"] for one in models.values()),
            "processes": self.earlier.get("processes", 0) + bool(now),
            "models": models,
        }

    def judged_again(self) -> None:
        """Count no longer what earlier processes did not ask: all of it was judged again in this one, which counts for itself."""
        models = self.earlier.get("models", {})
        asked = {name: {**one, "not_asked": 0, "cap_reached": False} for name, one in models.items()}
        self.earlier = {**self.earlier, "models": asked}
        self.write()

    def write(self) -> None:
        """Write the file, if there is anything new.

        Raises:
            OutputError: it cannot be written.
        """
        told = self.told()
        if told is not None and told != self._written:
            write_json(self.path, {"schema": SCHEMA, **told})
            self._written = told


def _sum(before: Model, now: Model) -> dict[str, Any]:
    added: dict[str, Any] = {what: before.get(what, 0) + now[what] for what in COUNTS}
    if "spent" in before or "spent" in now:
        added["spent"] = before.get("spent", 0.0) + now.get("spent", 0.0)
    return {**added, "cap_reached": bool(before.get("cap_reached")) or now["cap_reached"]}


def _priced(models: Mapping[str, Model]) -> bool:
    return all("spent" in one for one in models.values())
