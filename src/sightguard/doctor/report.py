"""What a visit to the doctor yields: the environment and, with a model, its parts and the self-test on its weights.

torch is only needed for a model, so that a broken installation is a finding, not a crash.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sightguard import environment
from sightguard.environment import Check
from sightguard.errors import UsageError

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Report:
    """All findings; `anatomy` is None where there was no model, or it could not be loaded."""

    checks: tuple[Check, ...]
    environment: dict[str, float | str | None]
    anatomy: dict[str, Any] | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing stands in the way."""
        return not environment.failed(self.checks)

    def as_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "schema": SCHEMA,
            "environment": self.environment,
            "anatomy": self.anatomy,
            "checks": [asdict(check) for check in self.checks],
            "ok": self.ok,
        }


def visit(
    model: str | None = None,
    *,
    guard: str | Path | None = None,
    revision: str | None = None,
    dtype: str = "auto",
    device: str | None = None,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Report:
    """Examine this computer and, if one is named, a model.

    Args:
        model: what `VLM.load` takes; None for the environment alone.
        guard: folder of a guard fitted on it, or its hub id.
        revision: commit of a hub repository.
        dtype: as for `VLM.load`.
        device: as for `VLM.load`.
        progress: called with (stage, done, total).

    Raises:
        UsageError: a model, dtype or device that cannot be meant, or a guard without a model.
    """
    if guard is not None and model is None:
        raise UsageError("--guard needs the model that the guard was fitted on: sightguard doctor MODEL --guard DIR")
    checks = environment.examine()
    report = Report(tuple(checks), {check.name: check.measured for check in checks})
    if model is None:
        return report
    if not report.ok:
        reason = "not examined: what failed above has to be mended first"
        return replace(report, checks=(*checks, Check("model", "n/a", detail=reason)))
    return _with_model(report, model, guard, {"revision": revision, "dtype": dtype, "device": device}, progress)


def _with_model(
    report: Report,
    model: str,
    guard: str | Path | None,
    options: dict[str, Any],
    progress: Callable[[str, int, int], None],
) -> Report:
    from sightguard.doctor.examine import examine
    from sightguard.doctor.parts import anatomy
    from sightguard.models.vlm import VLM

    try:
        progress("load the model", 0, 1)
        vlm = VLM.load(model, **options)
        parts = anatomy(vlm)
    except UsageError:
        raise
    except Exception as error:
        broken = Check("model", "fail", detail=f"{type(error).__name__}: {error}")
        return replace(report, checks=(*report.checks, broken))
    progress("load the model", 1, 1)
    found = examine(vlm, guard=guard, progress=lambda done, total: progress("examine the model", done, total))
    return replace(report, checks=(*report.checks, *found), anatomy=parts)
