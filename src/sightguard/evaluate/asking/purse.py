"""A sum of money that judging may cost. A question is paid for before it is asked, so that those in flight cannot spend the same rest."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from sightguard.errors import UsageError


@dataclass(frozen=True, slots=True)
class Prices:
    """What an endpoint charges, in any currency, for a million tokens of questions and of answers. Nobody knows them but you."""

    prompt: float
    answer: float

    def __post_init__(self) -> None:
        if not (0 <= self.prompt < float("inf") and 0 <= self.answer < float("inf")):
            raise UsageError(
                f"expected two prices for a million tokens, 0 or more; got {self.prompt} and {self.answer}"
            )

    @classmethod
    def parse(cls, text: str, option: str = "prices") -> Prices:
        """Read "0.15,0.6".

        Raises:
            UsageError: not two numbers of 0 or more.
        """
        try:
            prompt, answer = map(float, text.split(","))
        except ValueError:
            raise UsageError(
                f"{option} takes READ,WRITTEN, two prices for a million tokens such as 0.15,0.6; got {text!r}"
            ) from None
        return cls(prompt, answer)

    def of(self, prompt_tokens: int, answer_tokens: int) -> float:
        """Return what so many tokens cost."""
        return (prompt_tokens * self.prompt + answer_tokens * self.answer) / 1e6


class Purse:
    """Holds what may be spent; several judges may share one, from several threads.

    Args:
        most: the sum, in the currency of the prices.
        spent: of it, before this process.

    Raises:
        UsageError: a sum below 0.
    """

    def __init__(self, most: float, spent: float = 0.0) -> None:
        if not 0 <= most < float("inf"):
            raise UsageError(f"expected a sum of money that may be spent, 0 or more; got {most}")
        self.most, self._lock = most, threading.Lock()
        self._spent, self._held = spent, 0.0
        self._refused = 0

    @property
    def spent(self) -> float:
        """What was spent so far."""
        return self._spent

    @property
    def refused(self) -> int:
        """Questions that were not asked for want of money."""
        return self._refused

    def hold(self, cost: float) -> bool:
        """Set aside the most that a question can cost; False where the rest is too small, and it must not be asked."""
        with self._lock:
            if self._spent + self._held + cost > self.most:
                self._refused += 1
                return False
            self._held += cost
            return True

    def settle(self, held: float, cost: float) -> None:
        """Give back what was set aside for a question, and spend what it did cost."""
        with self._lock:
            self._held -= held
            self._spent += cost
