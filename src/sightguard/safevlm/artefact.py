"""A trained SafeVLM as a folder, safetensors and JSON only.

safevlm.json            sizes, taxonomy, policy, temperatures, thresholds, turns, fingerprint of the plain model, measured figures
modules.safetensors     projector, head and both sets of tokens, in float32 or float16
adapter/                stage 2, if it was run, as peft writes it: other engines read it too
README.md               the card
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import torch
from torch import Tensor

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
from sightguard.data.taxonomy import Taxonomy
from sightguard.errors import ArtifactError, FingerprintMismatch
from sightguard.hub import Fetch, fetched
from sightguard.models.additions import Adapter
from sightguard.safevlm.card import card
from sightguard.safevlm.model import SafeVLM
from sightguard.safevlm.modules import SafetyModules, Shape
from sightguard.safevlm.policy import Policy, default_policy, turns_of

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM

SCHEMA = 1
_PREFIX = "base_model.model."


def save(
    safe: SafeVLM,
    folder: str | Path,
    *,
    half: bool = False,
    policy: Mapping[str, Any] | None = None,
    measured: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    license: str | None = None,
) -> Path:
    """Write a SafeVLM to a new folder, whole or not at all.

    Args:
        safe: what to write.
        folder: a new or empty one.
        half: float16 in place of float32.
        policy: the data of the policy's file, so that it is read back as it is; None keeps the default policy.
        measured: figures for the card and for `safevlm.json`.
        training: how it was trained, for the same.
        license: for the card, an identifier such as "apache-2.0".

    Raises:
        OutputError: the folder holds something, or cannot be written.
    """
    dtype = torch.float16 if half else torch.float32
    about = {
        "schema": SCHEMA,
        "sightguard": __version__,
        **settings_as_json(safe, policy),
        "adapter": safe.adapter is not None,
        "fingerprint": asdict(safe.vlm.fingerprint),
        "training": dict(training or {}),
        "measured": dict(measured or {}),
    }
    with whole_folder(folder) as place:
        write_tensors(place / "modules.safetensors", arrays(safe.modules.state_dict(), dtype))
        if safe.adapter is not None:
            _write_adapter(place / "adapter", safe.adapter, dtype, safe.vlm.fingerprint.repo)
        write_text(place / "README.md", card(about, license=license))
        write_json(place / "safevlm.json", about)
    return Path(folder)


def load(
    source: str | Path,
    vlm: VLM,
    *,
    other_model: bool = False,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    **parts: Any,
) -> SafeVLM:
    """Read a SafeVLM for `vlm`.

    Args:
        source: its folder, or its id on the hub ("owner/name").
        vlm: the model that it was trained on.
        other_model: use it although it was trained on another model of the same width.
        revision, token, cache_dir, local_files_only: of the hub; see `sightguard.hub.Fetch`.
        parts: fields of `SafeVLM` to set otherwise (`policy`, `hints`, `tokens`, `adapter=None` for stage 1 alone, …).

    Raises:
        ArtifactError: a file is missing or broken, or the hub could not be reached.
        FingerprintMismatch: it was trained on another model.
    """
    remote: Fetch = {"revision": revision, "token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
    place, about = opened(source, **remote)
    differences = Fingerprint.of(about["fingerprint"], where="safevlm.json").differences(vlm.fingerprint)
    if differences and not other_model:
        raise FingerprintMismatch(
            f"these safety modules were trained on another model: {'; '.join(differences)}. Train them on this model "
            "(`sightguard train`); from Python, other_model=True uses them all the same."
        )
    with explaining(place):
        known = {
            **settings_of(about, "safevlm.json"),
            "adapter": read_adapter(place / "adapter") if about["adapter"] else None,
        }
        modules = SafetyModules(Shape.of(about["shape"]))
        modules.load_state_dict(tensors_of(place / "modules.safetensors"))
    return SafeVLM(vlm, modules, **{**known, **parts})


def opened(source: str | Path, **remote: Unpack[Fetch]) -> tuple[Path, dict[str, Any]]:
    """Return the folder of a trained SafeVLM, fetched where it is a hub id, and the content of its safevlm.json.

    Raises:
        ArtifactError: there is none, or the hub could not be reached.
    """
    place = fetched(source, "SafeVLM", "safevlm.json", **remote)
    if not (place / "safevlm.json").is_file():
        stages = [stage for stage in ("stage1", "stage2") if (place / stage / "safevlm.json").is_file()]
        advice = (
            f"; it holds a training, so name one of its stages: {', '.join(str(place / s) for s in stages)}"
            if stages
            else ""
        )
        raise ArtifactError(
            f"no SafeVLM at {str(place)!r}: expected a folder with safevlm.json (`sightguard train` makes one){advice}"
        )
    return place, read_json(place / "safevlm.json", schema=SCHEMA)


@contextmanager
def explaining(place: Path) -> Iterator[None]:
    """Turn what goes wrong with the entries of a folder of ours into an ArtifactError."""
    try:
        yield
    except (KeyError, TypeError, IndexError, RuntimeError) as error:
        raise ArtifactError(
            f"the SafeVLM in {str(place)!r} cannot be used, since an entry of it is missing, unknown or of another shape: "
            f"{' '.join(str(error).split())[:300]}. Train it again, or fetch it again."
        ) from error


def settings_as_json(safe: SafeVLM, policy: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a SafeVLM knows beside its weights, for `settings_of`; `policy` is the data of the policy's file."""
    return {
        "shape": safe.modules.shape.as_json(),
        "taxonomy": safe.taxonomy.as_json(),
        "policy": None if policy is None else dict(policy),
        "temperatures": list(safe.temperatures),
        "thresholds": dict(safe.policy.thresholds),
        "turns": safe.policy.turns,
    }


def settings_of(about: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Read taxonomy, policy and temperatures."""
    taxonomy = Taxonomy.of(about["taxonomy"], where)
    return {
        "taxonomy": taxonomy,
        "policy": _policy(about, taxonomy, where),
        "temperatures": (float(about["temperatures"][0]), float(about["temperatures"][1])),
    }


def tensors_of(path: Path) -> dict[str, Tensor]:
    """Read safetensors of ours as float32."""
    return {name: torch.from_numpy(array.copy()).float() for name, array in read_tensors(path).items()}


def arrays(tensors: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """Return tensors as numpy arrays of one precision."""
    return {name: tensor.detach().cpu().to(dtype).numpy() for name, tensor in tensors.items()}


def read_adapter(folder: Path) -> Adapter:
    """Read a LoRA adapter as peft writes it.

    Raises:
        ArtifactError: it is missing, broken, or no plain LoRA of linear layers.
    """
    about = read_json(folder / "adapter_config.json")
    odd = [
        name
        for name in ("use_dora", "use_rslora", "modules_to_save", "rank_pattern", "alpha_pattern")
        if about.get(name)
    ]
    if about.get("peft_type") != "LORA" or odd:
        raise ArtifactError(f"{folder} holds {about.get('peft_type')} {odd}; expected plain LoRA on linear layers")
    tensors = tensors_of(folder / "adapter_model.safetensors")
    paths = sorted({name.removeprefix(_PREFIX).rsplit(".lora_", 1)[0] for name in tensors})
    return Adapter(
        {path: tuple(tensors[f"{_PREFIX}{path}.lora_{side}.weight"] for side in "AB") for path in paths},  # type: ignore[misc]
        scale=float(about["lora_alpha"]) / int(about["r"]),
    )


def _write_adapter(folder: Path, adapter: Adapter, dtype: torch.dtype, base: str) -> None:
    rank = len(next(iter(adapter.layers.values()))[0])
    tensors = {
        f"{_PREFIX}{path}.lora_{side}.weight": tensor
        for path, pair in adapter.layers.items()
        for side, tensor in zip("AB", pair, strict=True)
    }
    folder.mkdir()
    write_tensors(folder / "adapter_model.safetensors", arrays(tensors, dtype))
    write_json(
        folder / "adapter_config.json",
        {
            "peft_type": "LORA",
            "base_model_name_or_path": base,
            "r": rank,
            "lora_alpha": adapter.scale * rank,
            "lora_dropout": 0.0,
            "bias": "none",
            "inference_mode": True,
            "target_modules": sorted(adapter.layers),
        },
    )


def _policy(about: Mapping[str, Any], taxonomy: Taxonomy, where: str) -> Policy:
    from dataclasses import replace

    told = about["policy"]
    policy = default_policy(taxonomy) if told is None else Policy.of(_with_numbers(told), taxonomy, where)
    turns = turns_of(about.get("turns", policy.turns), where)  # older folders have no such entry
    return replace(policy, thresholds=dict(about["thresholds"]), turns=turns)


def _with_numbers(told: dict[str, Any]) -> dict[str, Any]:
    """Turn levels, which are strings in JSON, into numbers again."""
    types = {
        kind: {int(level): rule for level, rule in entry.items()} if isinstance(entry, dict) else entry
        for kind, entry in (told.get("types") or {}).items()
    }
    return {**told, "levels": {int(level): action for level, action in told["levels"].items()}, "types": types}
