"""What a guarded model has read before, so that a prompt or a picture is not read twice for reference."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from torch import Tensor

REMEMBERED = 4096
"""How many prompts, and how many captions, are kept; the oldest go first."""


@dataclass(slots=True)
class Memory:
    """Text-only states by prompt and captions by picture, of one model with one set of weights.

    It belongs to the pair of a model and a method, never to the method alone: the same prompt has other states in another model.
    Call `clear` after the weights of the model have changed.
    """

    states: OrderedDict[tuple[tuple[int, ...], tuple[int, ...]], Tensor] = field(default_factory=OrderedDict)
    """(layers, token ids) -> `layers x hidden`"""
    captions: OrderedDict[tuple[str, str], str] = field(default_factory=OrderedDict)
    """(sha256 of the picture, captioning prompt) -> what the model said"""
    reads: int = 0
    """Prompts and pictures that really were read, for counting cost."""

    def forget(self) -> None:
        """Drop the oldest entries beyond what is kept."""
        while len(self.states) > REMEMBERED:
            self.states.popitem(last=False)
        while len(self.captions) > REMEMBERED:
            self.captions.popitem(last=False)

    def clear(self) -> None:
        """Drop everything."""
        self.states.clear()
        self.captions.clear()
