"""What a call allocates at most, measured in a process of its own: here other tests' threads would be counted with it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any


def traced(call: Callable[..., Any], *arguments: Any) -> tuple[Any, int]:
    """Return what `call`, a function of a module, gives, and the bytes that it held at once at most; imports do not count."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_traced, call, *arguments).result()


def _traced(call: Callable[..., Any], *arguments: Any) -> tuple[Any, int]:
    tracemalloc.start()
    found = call(*arguments)
    return found, tracemalloc.get_traced_memory()[1]
