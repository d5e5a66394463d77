"""Says which model a guard was made on, precisely enough to refuse another one."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import torch

from sightguard.artifacts import Fingerprint
from sightguard.models.adapters import weights
from sightguard.models.anatomy import unwrap
from sightguard.models.sharded import whole

if TYPE_CHECKING:
    from torch import nn

SAMPLED = 32
"""Values read from each decoder parameter: enough to tell two trainings apart, cheap at any size."""


def fingerprint(model: nn.Module, processor: Any) -> Fingerprint:
    """Return the fingerprint of a loaded model and its processor."""
    inner = unwrap(model)
    text = inner.config.get_text_config()
    image_processor = getattr(processor, "image_processor", None)
    return Fingerprint(
        repo=_name(str(inner.config._name_or_path)),
        revision=getattr(inner.config, "_commit_hash", None),
        architecture=type(inner).__name__,
        hidden_size=int(text.hidden_size),
        layers=int(text.num_hidden_layers),
        dtype=str(inner.dtype).removeprefix("torch."),
        chat_template_sha256=hashlib.sha256(str(getattr(processor, "chat_template", "")).encode()).hexdigest(),
        weights_sha256=weights_digest(inner.get_decoder()),
        image_processor=type(image_processor).__name__ if image_processor is not None else "",
    )


def weights_digest(decoder: nn.Module) -> str:
    """Return a sha256 over evenly spaced values of every decoder parameter, rounded to bfloat16: the same in float32 and in bfloat16.

    The integers of a quantised layer count as they are. Adapters count where they are at work; weights that accelerate keeps
    elsewhere are read from there, each whole, which takes time where that is a disk.
    """
    digest = hashlib.sha256()
    for name, values in weights(decoder):
        flat = whole(values).flatten()
        # whole numbers: a float32 step would overshoot the end of a large embedding
        count = min(SAMPLED, flat.numel())
        picks = torch.arange(count, device=flat.device) * (flat.numel() - 1) // max(count - 1, 1)
        digest.update(name.encode())
        some = flat[picks].cpu()
        digest.update((some.bfloat16().view(torch.int16) if some.is_floating_point() else some).numpy().tobytes())
    return digest.hexdigest()


def _name(source: str) -> str:
    """Keep a hub id whole; of a folder keep its last part only, since the rest is about this machine."""
    return (
        source
        if source.count("/") == 1 and not source.startswith(("/", "."))
        else source.rstrip("/").rsplit("/", 1)[-1]
    )
