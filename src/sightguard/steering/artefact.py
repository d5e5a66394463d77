"""A guard as a folder: guard.json and directions.safetensors, readable without torch or transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Unpack

import torch

from sightguard import __version__
from sightguard.artifacts import (
    Fingerprint,
    read_json,
    read_tensors,
    whole_folder,
    write_json,
    write_tensors,
    write_text,
)
from sightguard.errors import ArtifactError
from sightguard.hub import Fetch, fetched
from sightguard.steering.card import card
from sightguard.steering.directions import Directions
from sightguard.steering.vlm_guard import VlmGuard

SCHEMA = 2
"""Format 1 kept thresholds as a list beside the edited layers; it is read still."""
PARAMETERS = ("m", "alpha", "kind", "reference", "gate", "threshold", "phase", "strength", "caption_prompt")


def save(
    guard: VlmGuard, folder: str | Path, *, beside: Mapping[str, str] | None = None, license: str | None = None
) -> Path:
    """Write `guard` to a new folder, whole or not at all: guard.json, directions.safetensors and README.md, its card.

    Args:
        guard: what to write.
        folder: a new or empty one.
        beside: further text files, by name, such as a page that shows how it was fitted.
        license: for the card, an identifier such as "apache-2.0".

    Raises:
        OutputError: the folder holds something, or cannot be written.
    """
    directions = guard.directions
    with whole_folder(folder) as place:
        for name, text in {"README.md": card(guard, license=license), **(beside or {})}.items():
            write_text(place / name, text)
        tensors = {name: getattr(directions, name).numpy() for name in ("vectors", "energy", "means")}
        write_tensors(place / "directions.safetensors", tensors)
        write_json(
            place / "guard.json",
            {
                "schema": SCHEMA,
                "method": "vlm_guard",
                "sightguard": __version__,
                "parameters": {name: getattr(guard, name) for name in PARAMETERS}
                | {
                    "layers": list(guard.layers),
                    "thresholds": {str(layer): list(pair) for layer, pair in guard.thresholds.items()},
                },
                "directions": {"layers": list(directions.layers), "provenance": dict(directions.provenance)},
                "calibration": dict(guard.calibration),
                "fingerprint": asdict(guard.fingerprint),
            },
        )
    return Path(folder)


def load(source: str | Path, **fetch: Unpack[Fetch]) -> VlmGuard:
    """Read a guard from a folder, or from the hub ("owner/name").

    Raises:
        ArtifactError: a file is missing, broken, of another format number or of another method; or the hub could not be reached.
    """
    place = fetched(source, "guard", "guard.json", **fetch)
    if not place.is_dir():
        raise ArtifactError(
            f"no guard at {str(place)!r}: expected a folder with guard.json and directions.safetensors (`sightguard fit` makes one)"
        )
    data = read_json(place / "guard.json", schema=(1, SCHEMA))
    if data.get("method") != "vlm_guard":
        raise ArtifactError(f"{place / 'guard.json'} holds the method {data.get('method')!r}; expected 'vlm_guard'")
    arrays = read_tensors(place / "directions.safetensors")
    try:
        return _guard(data, {name: torch.from_numpy(array.copy()) for name, array in arrays.items()})
    except ArtifactError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(
            f"the guard in {str(place)!r} cannot be used, since an entry of guard.json is missing, unknown or wrong: {error}. "
            "Make it again with `sightguard fit`."
        ) from error


def _guard(data: dict[str, Any], tensors: dict[str, torch.Tensor]) -> VlmGuard:
    told = data["directions"]
    directions = Directions(
        tuple(told["layers"]), tensors["vectors"], tensors["energy"], tensors["means"], told["provenance"]
    )
    _check_shapes(directions)
    parameters = dict(data["parameters"])
    layers = tuple(parameters.pop("layers"))
    told = parameters.pop("thresholds")
    pairs = zip(layers, told, strict=bool(told)) if data["schema"] == 1 else told.items()
    thresholds = {int(layer): (float(a), float(b)) for layer, (a, b) in pairs}
    return VlmGuard(
        directions,
        Fingerprint.of(data["fingerprint"]),
        layers,
        thresholds=thresholds,
        calibration=data["calibration"],
        **parameters,
    )


def _check_shapes(directions: Directions) -> None:
    layers, vectors = len(directions.layers), directions.vectors
    if (
        vectors.ndim != 3
        or vectors.shape[0] != layers
        or directions.energy.shape != vectors.shape[:2]
        or directions.means.shape != (layers, 2)
    ):
        shapes = {name: tuple(getattr(directions, name).shape) for name in ("vectors", "energy", "means")}
        raise ArtifactError(
            f"directions.safetensors does not fit guard.json: {layers} layers there, and tensors of the shapes {shapes}"
        )
