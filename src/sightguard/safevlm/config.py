"""How SafeVLM is trained. The defaults are the published recipe (PSA-VLM, supplement, Table 1; the loss weight is the code's).

A configuration file is YAML with the names of these fields, nested as they are here; what it leaves out stays as published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from sightguard.artifacts import sha256_json
from sightguard.data.taxonomy import read_yaml
from sightguard.errors import DataError, UsageError
from sightguard.safevlm.head import Query

Precision = Literal["no", "bf16", "fp16"]
CLIP = 1.0
"""The norm of a step's gradients is at most this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of training."""

    epochs: float = 3
    batch: int = 2
    """Records per process and pass."""
    accumulate: int = 16
    """Passes per step of the optimizer."""
    warmup: int = 20
    """Steps in which the learning rate rises; it falls as a cosine afterwards, which the papers leave open."""
    learning_rate: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("batch", "accumulate"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1; got {getattr(self, name)}")
        if self.epochs <= 0 or self.learning_rate <= 0 or self.warmup < 0:
            raise UsageError("epochs and learning_rate must be above 0, and warmup not below it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """Stage 2's adapter: on every linear layer of the decoder, the output head left out."""

    rank: int = 256
    alpha: float = 16
    dropout: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Modules:
    """Sizes of the safety modules that do not follow from the model; None: `vision + 64`, and a grid as large as the model's own."""

    projector: Literal["c_abstractor", "mlp"] = "c_abstractor"
    inner: int | None = None
    side: int = 24
    depth: int = 3
    tokens: int = 64
    heads: int = 8
    query: Query = "pooled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that decides what is trained, but the data and the model."""

    modules: Modules = field(default_factory=Modules)
    stage1: Stage = field(default_factory=Stage)
    stage2: Stage = field(default_factory=lambda: Stage(accumulate=8, warmup=300))
    lora: Lora = field(default_factory=Lora)
    weight: float = 10.0
    """Of the two classification losses."""
    seed: int = 256
    precision: Precision = "bf16"
    language_share: float = 1.0
    """Share of stage 1's passes that take the language loss. It reaches the prompt tokens alone and the classification losses all the rest,
    so this says how often each is trained, and not how they trade."""
    hint_share: float = 0.0
    """Share of risky records that are trained with the policy's hint in the prompt; the papers train without."""
    attention: str | None = None
    """transformers' name of an attention to train with ("eager" is the fastest on a CPU for short prompts); None: the model's own."""
    save_every: int = 100
    """Optimizer steps between two checkpoints."""
    evaluate_every: int = 200
    """Optimizer steps between two looks at the held-out data."""
    max_over_refusal: float = 0.05
    """Training stops where refusals of held-out benign requests exceed those of the plain model by more than this."""
    patience: int = 1
    """So many looks in a row must exceed it; the look at the end of a stage decides alone."""
    benign_checked: int = 64
    """So many of them are answered at each look."""

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    @property
    def digest(self) -> str:
        """A short hash, so that a half-finished run of another configuration is noticed."""
        return sha256_json(self.as_json())[:16]


POCKET = Config(
    modules=Modules(inner=96, side=6, tokens=16),
    stage1=Stage(epochs=5, batch=32, accumulate=1, warmup=40, learning_rate=2e-3),
    stage2=Stage(epochs=0.8, batch=32, accumulate=1, warmup=40, learning_rate=5e-4),
    lora=Lora(rank=8, alpha=16, dropout=0.05),
    seed=0,
    language_share=0.25,
    hint_share=0.5,
    attention="eager",
    max_over_refusal=0.1,
    patience=3,
    benign_checked=128,
)
"""For the embedded models: they are trained from scratch on few words, and follow a hint only if they have seen hints."""


def read_config(path: Path | str, base: Config | None = None) -> Config:
    """Read a configuration from a YAML file; what it leaves out is `base`'s, by default the published recipe.

    Raises:
        DataError: no such file, or an unknown entry; the message lists what there is.
    """
    values = read_yaml(Path(path)) or {}
    if not isinstance(values, dict):
        raise DataError(
            f"{str(path)!r} should hold the entries of a training configuration; found {str(values)[:60]!r}"
        )
    found: Config = _updated(base or Config(), values, str(path))
    return found


def _updated(base: Any, values: Mapping[str, Any], where: str) -> Any:
    known = {entry.name: getattr(base, entry.name) for entry in fields(base)}
    if unknown := sorted(set(map(str, values)) - set(known)):
        raise DataError(f"{where}: unknown entry {unknown[0]!r}. Known: {', '.join(known)}")
    changed: dict[str, Any] = {}
    for name, value in values.items():
        nested = isinstance(known[name], (Stage, Lora, Modules))
        if nested and not isinstance(value, dict):
            raise DataError(f"{where}: {name!r} should hold entries of its own; found {value!r}")
        changed[name] = _updated(known[name], value, f"{where}, {name}") if nested else value
    try:
        return replace(base, **changed)
    except TypeError as error:
        raise DataError(f"{where}: {error}") from error
