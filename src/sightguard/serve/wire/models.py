"""/v1/models: the one model of a server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sightguard.serve.job import GuardId
from sightguard.serve.wire.errors import WireError, shown


def model(name: str, created: int, guard: GuardId) -> dict[str, Any]:
    """Return the body of /v1/models/{id}.

    Args:
        name: as clients call it.
        created: when the server was started, in seconds since 1970.
        guard: what stands before it.
    """
    about = {"guard": {"id": guard.id, "sha256": guard.sha256}}
    return {"id": name, "object": "model", "created": created, "owned_by": "sightguard", "sightguard": about}


def models(name: str, created: int, guard: GuardId) -> dict[str, Any]:
    """Return the body of /v1/models, as `model`."""
    return {"object": "list", "data": [model(name, created, guard)]}


def check_model(asked: str, names: Sequence[str], param: str = "model") -> None:
    """Raise WireError, 404, where another model is asked for than is served."""
    if asked not in names:
        raise WireError(
            404,
            f"{param}: there is no model {shown(asked)} here. Known: {', '.join(names)}.",
            param=param,
            code="model_not_found",
        )
