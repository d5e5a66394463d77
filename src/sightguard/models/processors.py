"""Loads the processor of a checkpoint, without torchvision where only its video part would need that.

Processors that also take videos ask for torchvision when they are made, even where no video will ever come. Sightguard takes
pictures only, so without torchvision the video part is left out: the same class of transformers, with one argument fewer.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from transformers import AutoProcessor, PreTrainedConfig, ProcessorMixin
from transformers.models.auto.configuration_auto import model_type_to_module_name
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES
from transformers.utils import is_torchvision_available

if TYPE_CHECKING:
    from pathlib import Path

VIDEO = "video_processor"


def load_processor(origin: Path | str, config: PreTrainedConfig, **options: Any) -> Any:
    """Load the processor of a checkpoint.

    Args:
        origin: folder or hub id.
        config: of the model in it.
        options: passed to `from_pretrained` (`revision`, `local_files_only`, …).

    Raises:
        ImportError: the processor cannot do without a package that is not installed; the message names it.
    """
    found = None if is_torchvision_available() else processor_class(config)
    return (found or AutoProcessor).from_pretrained(origin, trust_remote_code=False, **options)


def processor_class(config: PreTrainedConfig) -> type[ProcessorMixin] | None:
    """Return the processor class of a model without its video part, or None where transformers knows no class for the model."""
    name = PROCESSOR_MAPPING_NAMES.get(config.model_type)
    if not isinstance(name, str):
        return None
    home = next(kind for kind, known in PROCESSOR_MAPPING_NAMES.items() if known == name and _has_module(kind))
    with _pil_twins(model_type_to_module_name(home)):
        module = importlib.import_module(_module(home))
    return without_video(getattr(module, name))


@cache
def without_video(processor: type[ProcessorMixin]) -> type[ProcessorMixin]:
    """Return a processor class that neither loads nor saves a video processor; the class itself where it has none."""
    if VIDEO not in processor.get_attributes():
        return processor
    return type(processor.__name__, (processor, _PicturesOnly), {"__module__": processor.__module__})


class _NoVideo:
    """Stands where a video processor would, and has no settings."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


class _PicturesOnly(ProcessorMixin):  # type: ignore[misc]
    """Stands between a processor class and ProcessorMixin, and takes the video processor out of what passes between them."""

    video_processor = _NoVideo()  # some read its settings before they know that no video comes

    @classmethod
    def get_attributes(cls) -> list[str]:
        return [name for name in super().get_attributes() if name != VIDEO]

    @classmethod
    def from_args_and_dict(cls, args: list[Any], processor_dict: dict[str, Any], **kwargs: Any) -> Any:
        rest = iter(args)
        filled = [None if name == VIDEO else next(rest) for name in super().get_attributes()]
        return super().from_args_and_dict(filled, {k: v for k, v in processor_dict.items() if k != VIDEO}, **kwargs)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        given = {**dict(zip(super().get_attributes(), args, strict=False)), **kwargs}
        given.pop(VIDEO, None)
        super().__init__(**given)


def _module(kind: str) -> str:
    place = model_type_to_module_name(kind)
    return f"transformers.models.{place}.processing_{place}"


def _has_module(kind: str) -> bool:
    return find_spec(_module(kind)) is not None


@contextmanager
def _pil_twins(place: str) -> Iterator[None]:
    """Let a processor module that imports the torchvision picture processor of its family find the twin that needs PIL only."""
    fast = f"transformers.models.{place}.image_processing_{place}"
    twin = f"transformers.models.{place}.image_processing_pil_{place}"
    if fast in sys.modules or find_spec(twin) is None:
        yield
        return
    sys.modules[fast] = importlib.import_module(twin)
    try:
        yield
    finally:
        del sys.modules[fast]
