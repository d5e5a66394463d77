"""Functions of somebody else that make a defense: from an entry point, or from a Python file."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from sightguard.errors import UsageError

GROUP = "sightguard.defenses"


def plugins() -> dict[str, EntryPoint]:
    """Return the defenses that other distributions add, by name."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def is_file(name: str) -> bool:
    """Return whether a name has the form `path.py:function`."""
    path, colon, function = name.rpartition(":")
    return bool(colon) and path.endswith(".py") and function.isidentifier()


def function_in_file(name: str) -> Callable[..., Any]:
    """Return the function that `path.py:function` names; the file is run, as any program of yours.

    Raises:
        UsageError: there is no such file, it cannot be run, or it holds no such function.
    """
    path, _, function = name.rpartition(":")
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"no file {path!r} for the defense {name!r}. Check the path.")
    spec = spec_from_file_location(f"sightguard_defense_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise UsageError(f"the file {path!r} cannot be run as Python")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses of the file look themselves up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        raise UsageError(f"the file {path!r} cannot be run: {type(error).__name__}: {error}") from error
    found = getattr(module, function, None)
    if not callable(found):
        names = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise UsageError(f"{path!r} holds no function {function!r}; it holds {', '.join(names) or 'none'}")
    called: Callable[..., Any] = found
    return called


def parameters(name: str, function: Callable[..., Any]) -> int:
    """Return how many positional parameters a function of somebody else takes: 1 for a guard, 2 for something that answers.

    Raises:
        UsageError: another number.
    """
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    taken = [p for p in inspect.signature(function).parameters.values() if p.kind in kinds and p.default is p.empty]
    if len(taken) not in (1, 2):
        raise UsageError(
            f"the defense {name!r} takes {len(taken)} parameters; expected one, `generate`, for a guard, or two, `vlm` and `context`, for "
            "something that answers"
        )
    return len(taken)
