"""A model with its guard in place, as a server runs it: batches in, and for each row the proof of what the guard saw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sightguard.engine.rows import Row, options_for
from sightguard.engine.watched import Notes, Watched
from sightguard.errors import EditError, UsageError
from sightguard.safevlm.model import Looked, SafeVLM
from sightguard.serve.job import LayerGate, Proof
from sightguard.steering.memory import Memory
from sightguard.steering.steer import Steered, steer
from sightguard.types import Sample

if TYPE_CHECKING:
    from sightguard.models.encode import Batch
    from sightguard.models.vlm import VLM, Around
    from sightguard.steering.guard_folder import FittedGuard


@dataclass(frozen=True)
class Guarded:
    """A model behind a steering guard, behind a SafeVLM, or both: the head looks first, and the guard edits while the model speaks.

    Args:
        vlm: the model.
        method: a fitted guard; None for none.
        safe: a trained SafeVLM on the same model; None for none.
    """

    vlm: VLM
    method: FittedGuard | None = None
    safe: SafeVLM | None = None
    memory: Memory = field(default_factory=Memory, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.method is None and self.safe is None:
            raise UsageError("expected a guard, a SafeVLM, or both: a model without either is not served")
        if self.method is not None:
            steer(self.vlm, self.method)  # refuses a guard that was made for another model

    @property
    def speaker(self) -> VLM:
        """The model that writes; its processor may know more tokens than the plain one's."""
        return self.safe.speaking if self.safe is not None and self.safe.tokens else self.vlm

    def write(self, samples: Sequence[Sample], row_of: Callable[[str], Row], notes: Notes) -> None:
        """Write the rows of `samples`; they end by themselves, and whatever goes wrong is raised.

        Args:
            samples: with distinct ids.
            row_of: the row of a sample, by its id.
            notes: where the guard writes down what it did.
        """
        looked = {sample.id: one for sample, one in zip(samples, self.look(samples), strict=True)}
        for id, one in looked.items():
            row_of(id).looked = one

        def per_batch(batch: Batch) -> dict[str, Any]:
            _check_reached(batch)
            return options_for(self.speaker, batch, [row_of(sample.id) for sample in batch.samples])

        options: dict[str, Any] = {"batch": len(samples), "per_batch": per_batch}
        if self.safe is not None:
            self.safe.answer(list(looked.values()), within=lambda vlm: self.around(vlm, notes), **options)
        else:
            self.vlm.generate(samples, around=self.around(self.vlm, notes), **options)

    def look(self, samples: Sequence[Sample]) -> list[Looked]:
        """Let the safety head look, if there is one."""
        return self.safe.look(samples) if self.safe is not None else [Looked(sample, None, None) for sample in samples]

    def around(self, vlm: VLM, notes: Notes) -> Around:
        """Return what puts the steering guard in place around a batch of `vlm`."""
        if self.method is None:
            return lambda batch: nullcontext()
        return Steered(vlm, Watched(self.method, notes), self.memory).around

    def proof(self, row: Row, notes: Notes) -> Proof:
        """Return what the guard saw of one request.

        Raises:
            EditError: it did not see what it had to.
        """
        sample, looked, safe = row.job.sample, row.looked, self.safe
        if safe is not None and safe.hints and sample.images and (looked is None or looked.risk is None):
            raise EditError("a picture was to be looked at by the safety head, and was not; the answer is withheld")
        inspected = {"text": 0, "image": 0}
        methods: list[str] = []
        gate: tuple[LayerGate, ...] = ()
        if safe is not None:
            methods.append(safe.name)
            if looked is not None and looked.risk is not None:
                inspected = self.by_head(sample)
        if self.method is not None:
            methods.append(self.method.name)
            seen = notes.of(row.job.id, self.method)
            gate = tuple(seen.gate[layer] for layer in sorted(seen.gate))
            inspected = parts_of(sample)  # it stood on the pass that read them all
        risk, rule = (looked.risk, looked.rule) if looked is not None else (None, None)
        return Proof(inspected, tuple(methods), risk, rule, gate)

    def by_head(self, sample: Sample) -> dict[str, int]:
        """Count what the safety head looks at where there is a picture: every picture, and the texts of the turns that it reads."""
        assert self.safe is not None
        read = tuple(message for message in sample.messages if self.safe.reads(message.role))
        return {"text": parts_of(replace(sample, messages=read))["text"], "image": len(sample.images)}


def parts_of(sample: Sample) -> dict[str, int]:
    """Count the parts of a request by kind."""
    parts = [part for message in sample.messages for part in message.parts]
    text = sum(isinstance(part, str) for part in parts)
    return {"text": text, "image": len(parts) - text}


def _check_reached(batch: Batch) -> None:
    """Raise EditError where a picture of a request is not in what the model reads."""
    shown = (batch.image & batch.real).any(1).tolist()
    for sample, there in zip(batch.samples, shown, strict=True):
        if sample.images and not there:
            raise EditError(f"the pictures of {sample.id!r} are not in what the model reads; the answer is withheld")
