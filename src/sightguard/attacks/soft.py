"""Methods on hidden states as an attack sees them; for VLM-Guard a twin that has gradients where the method has a threshold.

    method     g = [score > threshold]
    twin       g = sigmoid((score - threshold) / T),   T = temperature x the distance of the anchors' means at that layer

Everything else is the method's own arithmetic. As T goes to 0 the twin becomes the method. What is added to the attack's loss keeps the
gate shut: softplus((score - threshold) / T), averaged over the layers, where the gate reads the picture at all.

Where the reference is a caption, its words are no function of the pixels. The attacker bets: that the caption stays what it is
(`decoy=None`), or on a decoy: the reference is read as if the model had said `decoy` of the picture, and the loss of making the model say
so is added. The reported losses use what it really says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from sightguard.attacks.forcing import Forced, forced
from sightguard.attacks.sight import VALUES
from sightguard.attacks.surfaces import Losses
from sightguard.models.hooks import alone, replacing
from sightguard.steering.memory import Memory
from sightguard.steering.method import Binds, Reading, WrappingBound, bound, text_rows
from sightguard.steering.vlm_guard import BoundVlmGuard, VlmGuard
from sightguard.types import Method, Sample, Step

if TYPE_CHECKING:
    from sightguard.models.anatomy import Anatomy
    from sightguard.models.encode import Batch
    from sightguard.models.vlm import VLM

DECOYS = ("The picture is blank.",)
TEMPERATURE = 0.1


@dataclass(frozen=True)
class Methodical:
    """A model with a method in place, as an attack sees it.

    Args:
        vlm: the model.
        method: of a VLM-Guard gradients are those of its soft twin; any other method is differentiated as it is.
        temperature: of the soft gate, in distances of the anchors' means.
        decoy: what the model is to say of the picture, where the method reads a caption; None leaves the caption alone.
    """

    vlm: VLM
    method: Method | Binds
    temperature: float = TEMPERATURE
    decoy: str | None = None
    note: str = ""

    @property
    def name(self) -> str:
        return self.method.name

    def asked(self, sample: Sample) -> Sample:
        """Return the sample: the method changes no words."""
        return sample

    def losses(self, prompts: Forced, samples: Sequence[Sample]) -> Losses:
        """Return the loss under the soft twin, and what keeps its gate shut and its caption the decoy."""
        guard = self.method if isinstance(self.method, VlmGuard) else None
        captions, memory = None, Memory()
        if guard is not None and guard.reference == "caption" and self.decoy is not None:
            captions = self._captions(prompts, guard.caption_prompt, self.decoy)
        if guard is not None and captions is not None and self.decoy is not None:
            shown = {image.sha256 for sample in prompts.batch.samples for image in sample.images}
            memory.captions.update(dict.fromkeys(((digest, guard.caption_prompt) for digest in shown), self.decoy))
        method = _ready(self.vlm, soft(self.method, self.temperature), prompts.batch, memory)

        def losses(**changed: Tensor) -> tuple[Tensor, Tensor]:
            with over(self.vlm.anatomy, method, prompts.batch):
                found = prompts.losses(self.vlm, **changed)
            added = method.open() if isinstance(method, BoundSoft) else torch.zeros_like(found)
            if captions is not None:
                added = added + captions.losses(self.vlm, **changed)
            return found, added.to(found)

        return losses

    @torch.no_grad()
    def real(self, samples: Sequence[Sample], targets: Sequence[str]) -> list[float]:
        """Return the loss of each target under the method itself; nothing is remembered from one call to the next."""
        batch = self.vlm.encode(samples)
        prompts = forced(self.vlm, batch, targets)
        method = _ready(self.vlm, self.method, batch, Memory())
        with alone(self.vlm.anatomy), over(self.vlm.anatomy, method, batch):
            found: list[float] = prompts.losses(self.vlm).tolist()
        return found

    def _captions(self, prompts: Forced, question: str, decoy: str) -> Forced | None:
        """Return the captioning question for the same pictures, with the decoy behind it; None where samples hold several pictures."""
        asked = [Sample.of(question, sample.images[-1], id=sample.id) for sample in prompts.batch.samples]
        batch = self.vlm.encode(asked)
        if batch.inputs[VALUES].shape != prompts.inputs[VALUES].shape:
            return None
        return forced(self.vlm, batch, [decoy] * len(asked))


def soft(method: Method | Binds, temperature: float = TEMPERATURE) -> Method | Binds:
    """Return the twin of a method that has gradients everywhere; a method without a threshold is its own."""
    return SoftVlmGuard(method, temperature) if isinstance(method, VlmGuard) else method


@dataclass(frozen=True)
class SoftVlmGuard:
    """VLM-Guard with a gate that opens by degrees; the guard itself is not changed."""

    guard: VlmGuard
    temperature: float = TEMPERATURE

    @property
    def name(self) -> str:
        return f"{self.guard.name} (soft)"

    @property
    def layers(self) -> tuple[int, ...]:
        return self.guard.layers

    def bind(self, reading: Reading) -> BoundSoft:
        """Read the text-only queries as the guard does."""
        inner = self.guard.bind(reading)
        directions = self.guard.directions
        apart = (directions.means[:, 1] - directions.means[:, 0]).abs().tolist()
        by_layer = dict(zip(directions.layers, apart, strict=True))
        widths = tuple(max(self.temperature * by_layer[layer], 1e-12) for layer in self.layers)
        return BoundSoft(inner, widths)


@dataclass(frozen=True)
class BoundSoft(WrappingBound):
    """The twin for one batch of prompts; `edit` remembers by how much each score passed its threshold."""

    inner: BoundVlmGuard
    widths: tuple[float, ...]
    """The temperature of the gate at each edited layer, in units of its score."""
    passed: dict[int, Tensor] = field(default_factory=dict)
    """By place of the layer: (score of the picture's state - threshold) / temperature, `rows`."""

    @property
    def name(self) -> str:
        return f"{self.inner.name} (soft)"

    def edit(self, hidden: Tensor, step: Step) -> Tensor:
        """Apply the guard's edit in the measure in which its gate is open."""
        where = (step.last if step.prefill else step.real).to(hidden.device)
        if self.inner.guard.strength == 0 or not (step.prefill or self.decodes):
            return hidden
        place = self.layers.index(step.layer)
        rows = where.nonzero()[:, 0]
        states = hidden[where]
        wide = states if states.dtype == torch.float64 else states.float()
        result = hidden.clone()
        result[where] = self._edited(wide, place, rows, keep=step.prefill).to(hidden.dtype)
        return result

    def open(self) -> Tensor:
        """Return how far the gates of the last pass stood open, `rows`: 0 where they are shut for good, or do not read the picture."""
        if self.inner.guard.gate not in ("image", "either"):
            some = next(iter(self.passed.values()))
            return torch.zeros_like(some)
        return torch.stack([functional.softplus(passed) for passed in self.passed.values()]).mean(0)

    def _edited(self, states: Tensor, place: int, rows: Tensor, *, keep: bool) -> Tensor:
        guard = self.inner.guard
        vectors = self.inner.vectors[place].to(states)
        own = states @ vectors.T
        known = self.inner.coordinates
        query = own if known is None else known[place].to(states)[rows]
        limits, width = self.inner.limits[place], self.widths[place]
        by_image, by_text = (own[:, 0] - limits[1]) / width, (query[:, 0] - limits[0]) / width
        if keep:
            self.passed[place] = by_image
        change = -own if guard.kind != "shift" else torch.zeros_like(own)
        if guard.kind != "project":
            change = change + guard.alpha * query
        opened = _opened(guard.gate, by_text, by_image)
        return states + guard.strength * opened[:, None] * (change @ vectors)


def _opened(gate: str, by_text: Tensor, by_image: Tensor) -> Tensor:
    if gate == "always":
        return torch.ones_like(by_image)
    if gate == "either":
        return 1 - torch.sigmoid(-by_text) * torch.sigmoid(-by_image)
    return torch.sigmoid(by_text if gate == "text" else by_image)


@contextmanager
def over(anatomy: Anatomy, method: Method, batch: Batch) -> Iterator[None]:
    """Put a method over teacher-forced passes: as in an answer, the prompt ends where the target begins."""
    with ExitStack() as stack:
        for layer in method.layers:
            stack.enter_context(replacing(anatomy.blocks[layer], partial(_edit, method, layer, batch)))
        yield


def _edit(method: Method, layer: int, batch: Batch, hidden: Tensor) -> Tensor:
    real = batch.real
    positions = (real.long().cumsum(1) - 1).clamp(min=0)
    last = torch.zeros_like(real)
    last[:, -1] = True
    reading = Step(layer, positions, real, batch.image & real, last, prefill=True)
    edited = method.edit(hidden[:, : batch.length], _on(reading, hidden.device))
    answer = hidden[:, batch.length :]
    if method.decodes and answer.shape[1]:
        offsets = torch.arange(answer.shape[1], device=real.device)
        there = torch.ones(len(real), answer.shape[1], dtype=torch.bool, device=real.device)
        writing = Step(layer, real.sum(1, keepdim=True) + offsets, there, ~there, ~there, prefill=False)
        answer = method.edit(answer, _on(writing, hidden.device))
    return torch.cat([edited, answer], 1)


def _on(step: Step, device: torch.device) -> Step:
    names = ("positions", "real", "image", "last")
    return replace(step, **{name: getattr(step, name).to(device) for name in names})


def _ready(vlm: VLM, method: Method | Binds, batch: Batch, memory: Memory) -> Method:
    with alone(vlm.anatomy), torch.no_grad():
        rows = tuple(text_rows(vlm, batch.samples))
        return bound(method, Reading(vlm.anatomy, vlm.pad, rows, batch.samples, vlm, memory))
