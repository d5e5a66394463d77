"""What an attack on pixels differentiates: the model alone, the model behind a guard that adds words, or the model in place of a black box.

A surface says what the model is asked, gives the loss with gradients (defenses in a form that has some), and the loss with the defense as
it is, which is the one that is reported. Surfaces of methods on hidden states are in `sightguard.attacks.soft`, that of SafeVLM in
`sightguard.attacks.headed`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from sightguard.attacks.forcing import Forced, forced
from sightguard.errors import UsageError
from sightguard.models.hooks import alone
from sightguard.types import Guard, Response, Sample

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM

Losses = Callable[..., tuple[Tensor, Tensor]]
"""Changed inputs (`pixel_values=…`) to the loss of the target and what the defense adds, each `rows`."""


class Surface(Protocol):
    """A model, guarded or not, as an attack sees it."""

    @property
    def name(self) -> str: ...

    @property
    def note(self) -> str:
        """What a reader of the results has to know; mostly nothing."""
        ...

    @property
    def vlm(self) -> VLM:
        """The model with the processor that prompts go through."""
        ...

    def asked(self, sample: Sample) -> Sample:
        """Return what the model is asked while gradients are taken; its last picture is the sample's."""
        ...

    def losses(self, prompts: Forced, samples: Sequence[Sample]) -> Losses:
        """Return the loss with gradients, for one batch: what is asked, encoded, and the samples that it comes from."""
        ...

    def real(self, samples: Sequence[Sample], targets: Sequence[str]) -> list[float]:
        """Return the loss of each target with the defense as it is, for one batch of samples."""
        ...


@dataclass(frozen=True)
class Plain:
    """The model as it is."""

    vlm: VLM
    name: str = "none"
    note: str = ""

    def asked(self, sample: Sample) -> Sample:
        """Return the sample."""
        return sample

    def losses(self, prompts: Forced, samples: Sequence[Sample]) -> Losses:
        """Return the loss of the targets; nothing is added."""
        return lambda **changed: _with_nothing(prompts.losses(self.vlm, **changed))

    def real(self, samples: Sequence[Sample], targets: Sequence[str]) -> list[float]:
        """Return the loss of each target."""
        return plain_losses(self.vlm, samples, targets)


@dataclass(frozen=True)
class Prompted:
    """The model behind a guard that only puts words around the question: gradients go through the prompt with these words in place.

    Raises, when a sample is asked:
        UsageError: the guard does something else too.
    """

    vlm: VLM
    guard: Guard
    note: str = ""

    @property
    def name(self) -> str:
        return str(getattr(self.guard, "name", type(self.guard).__name__))

    def asked(self, sample: Sample) -> Sample:
        """Return what the guard hands on."""
        calls: list[Sequence[Sample]] = []

        def record(samples: Sequence[Sample]) -> list[Response]:
            calls.append(samples)
            return [Response("") for _ in samples]

        self.guard(record)([sample])
        if len(calls) != 1 or len(calls[0]) != 1 or calls[0][0].images != sample.images:
            raise UsageError(
                f"the guard {self.name!r} does more than put words around the question, so gradients cannot go through it; "
                "attack it by transfer (sightguard.attacks.surfaces.Transfer)"
            )
        return calls[0][0]

    def losses(self, prompts: Forced, samples: Sequence[Sample]) -> Losses:
        """Return the loss of the targets behind the guard's prompt; nothing is added."""
        return lambda **changed: _with_nothing(prompts.losses(self.vlm, **changed))

    def real(self, samples: Sequence[Sample], targets: Sequence[str]) -> list[float]:
        """Return the loss of each target behind the guard's prompt."""
        return plain_losses(self.vlm, [self.asked(sample) for sample in samples], targets)


@dataclass(frozen=True)
class Transfer(Plain):
    """A defense that cannot be looked into: the model without it is attacked, and what is found is shown to it."""

    name: str = "transfer"
    note: str = "black box: the attack on the undefended model, transferred; it knows nothing of the defense, and losses are the model's own"


@torch.no_grad()
def plain_losses(vlm: VLM, samples: Sequence[Sample], targets: Sequence[str]) -> list[float]:
    """Return how far the model is from beginning its answer with each target, in nats a token."""
    prompts = forced(vlm, vlm.encode(samples), targets)
    with alone(vlm.anatomy):
        found: list[float] = prompts.losses(vlm).tolist()
    return found


def _with_nothing(loss: Tensor) -> tuple[Tensor, Tensor]:
    return loss, torch.zeros_like(loss)
