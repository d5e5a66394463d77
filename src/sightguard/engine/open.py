"""From names to an engine: the model, its guard, and the digest by which a client knows what stood before it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from sightguard.artifacts import sha256_file, sha256_json
from sightguard.engine.guarded import Guarded
from sightguard.engine.local import LocalEngine
from sightguard.errors import UsageError
from sightguard.hub import Fetch, fetched
from sightguard.pocket.locate import NAMES, SAFEVLM, find
from sightguard.serve.job import GuardId

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM

FILES = (".json", ".safetensors", ".yaml")


def open_engine(
    vlm: VLM,
    model: str,
    *,
    guard: str | None = None,
    safevlm: str | None = None,
    policy: Path | None = None,
    name: str | None = None,
    batch: int = 16,
    **remote: Unpack[Fetch],
) -> LocalEngine:
    """Return the engine for a loaded model.

    Args:
        vlm: the model.
        model: how it was named.
        guard: folder or hub id of a fitted guard.
        safevlm: folder or hub id of a trained SafeVLM; with neither, an embedded model brings its own.
        policy: YAML of what the SafeVLM does about each risk.
        name: as clients call it; default: how it was named.
        batch: requests at once, at most.
        remote: of the hub, for guard and SafeVLM; see `sightguard.hub.Fetch`.

    Raises:
        UsageError: no guard at all, or a policy without a SafeVLM.
        ArtifactError: a guard that cannot be read, or that belongs to another model.
    """
    check_guarded(model, guard, safevlm, policy)
    if guard is None and safevlm is None:
        safevlm = str(find(model) / SAFEVLM)
    method = safe = None
    names: list[str] = []
    digests: dict[str, str] = {}
    if safevlm is not None:
        from sightguard.safevlm.model import SafeVLM
        from sightguard.safevlm.policy import read_policy

        place = fetched(safevlm, "SafeVLM", "safevlm.json", **remote)
        safe = SafeVLM.from_pretrained(place, vlm)
        names.append(safe.name)
        digests |= _digests("safevlm", place)
        if policy is not None:
            safe = replace(safe, policy=read_policy(policy, safe.taxonomy))
            digests["policy"] = sha256_file(policy)
    if guard is not None:
        from sightguard.steering.guard_folder import read

        place = fetched(guard, "guard", "guard.json", **remote)
        method = read(place)
        names.append(method.name)
        digests |= _digests("guard", place)
    return LocalEngine(
        Guarded(vlm, method, safe), name or _short(model), GuardId("+".join(names), sha256_json(digests)), batch
    )


def check_guarded(model: str, guard: str | None, safevlm: str | None, policy: Path | None) -> None:
    """Raise UsageError where a model would be served without a guard, or a policy is for nobody; nothing is loaded for this."""
    if guard is None and safevlm is None and model not in NAMES:
        raise UsageError(
            f"{model!r} would be served without a guard; expected --guard DIR (`sightguard fit` makes one), --safevlm DIR "
            "(`sightguard train` makes one), or both"
        )
    if policy is not None and safevlm is None and not (guard is None and model in NAMES):
        raise UsageError("--policy says what a SafeVLM does about a risk; give --safevlm too")


def _digests(kind: str, place: Path) -> dict[str, str]:
    """Return the digest of each file of a folder that says what the guard does."""
    files = sorted(path for path in place.rglob("*") if path.suffix in FILES and path.is_file())
    return {f"{kind}/{path.relative_to(place).as_posix()}": sha256_file(path) for path in files}


def _short(model: str) -> str:
    return Path(model).resolve().name if Path(model).is_dir() else model
