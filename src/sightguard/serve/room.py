"""How much may be unfolded at the same time: what comes when there is no room waits its turn."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Room:
    """Room for some pixels, shared by threads; first come, first served, and what is larger than all of it has it alone.

    Args:
        most: pixels at the same time.
    """

    def __init__(self, most: int) -> None:
        self._most, self._taken = most, 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def take(self, pixels: int) -> Iterator[None]:
        """Wait until there is room, and have it until the end of the block."""
        with self._changed:
            turn = object()
            self._waiting.append(turn)
            self._changed.wait_for(lambda: self._waiting[0] is turn and self._fits(pixels))
            self._waiting.popleft()
            self._taken += pixels
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._taken -= pixels
                self._changed.notify_all()

    def _fits(self, pixels: int) -> bool:
        return self._taken == 0 or self._taken + pixels <= self._most
