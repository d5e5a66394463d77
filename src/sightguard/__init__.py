"""Make any open vision-language model as safe as the language model inside it, and prove it."""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from sightguard.data.anchor_sets import anchors, harmless_prompts
    from sightguard.models.vlm import VLM
    from sightguard.steering.guarantee import calibrate
    from sightguard.steering.steer import steer
    from sightguard.steering.vlm_guard import VlmGuard
    from sightguard.types import Image, Message, Response, Sample

__all__ = [
    "VLM",
    "steer",
    "VlmGuard",
    "anchors",
    "harmless_prompts",
    "calibrate",
    "Image",
    "Message",
    "Response",
    "Sample",
]

_HOMES = {
    "VLM": "sightguard.models.vlm",
    "steer": "sightguard.steering.steer",
    "VlmGuard": "sightguard.steering.vlm_guard",
    "anchors": "sightguard.data.anchor_sets",
    "harmless_prompts": "sightguard.data.anchor_sets",
    "calibrate": "sightguard.steering.guarantee",
    "Image": "sightguard.types",
    "Message": "sightguard.types",
    "Response": "sightguard.types",
    "Sample": "sightguard.types",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that `import sightguard` stays free of torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'sightguard' has no attribute {name!r}. Public names: {', '.join(__all__)}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
