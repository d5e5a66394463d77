"""Puts a method in place: around a VLM (a value, the VLM stays as it is) or around a model that is called elsewhere."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sightguard.artifacts import Fingerprint
from sightguard.errors import EditError, EditNeverRan, FingerprintMismatch, UsageError
from sightguard.models.anatomy import find_anatomy, unwrap
from sightguard.models.encode import Batch
from sightguard.models.fingerprint import fingerprint
from sightguard.models.hooks import Prompt, Trace, alone, editing, recording
from sightguard.models.states import last_states
from sightguard.models.vlm import VLM
from sightguard.steering.acted import Acted, Acting
from sightguard.steering.memory import Memory
from sightguard.steering.method import Binds, Reading, bound, rows_without_images, text_rows
from sightguard.types import Method, Response, Sample

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Steered:
    """A VLM that answers with a method in place; a `Generate`. The VLM inside is untouched."""

    vlm: VLM
    method: Method | Binds
    memory: Memory = field(default_factory=Memory, repr=False, compare=False)
    other_model: bool = False
    """The method was made for another model, and was told to work all the same; every response says so."""

    def __call__(self, samples: Sequence[Sample]) -> list[Response]:
        return self.generate(samples)

    def generate(self, samples: Sequence[Sample], **options: Any) -> list[Response]:
        """Answer `samples`; options as for `VLM.generate`."""
        name = self.method.name + (" (made for another model)" if self.other_model else "")
        acted = Acted()
        noting = replace(self, method=Acting(self.method, acted))
        responses = self.vlm.generate(samples, around=noting.around, **options)
        return [
            replace(response, methods=(*response.methods, name), gate=acted.on(sample))
            for sample, response in zip(samples, responses, strict=True)
        ]

    @torch.no_grad()
    def states(self, samples: Sequence[Sample], layers: Sequence[int], *, batch: int = 32) -> Tensor:
        """Return last-prompt-token states as they are after the edit: `layers x samples x hidden`, float32, in the samples' order."""
        wanted = self.vlm.anatomy.check_layers(layers)
        if not samples or not wanted:
            raise UsageError(f"reading states needs samples and layers; got {len(samples)} and {len(wanted)}")
        found: dict[int, Tensor] = {}
        for indices in self.vlm.batches(samples, batch):
            encoded = self.vlm.encode([samples[i] for i in indices])
            with alone(self.vlm.anatomy), self.around(encoded), recording(self.vlm.anatomy, wanted) as seen:
                self.vlm.anatomy.base(**encoded.inputs, use_cache=False)
            found.update(zip(indices, last_states(seen, wanted).unbind(1), strict=True))
        return torch.stack([found[i] for i in range(len(samples))], dim=1)

    @contextmanager
    def around(self, batch: Batch) -> Iterator[None]:
        """Put the method in place for one encoded batch, as `VLM.generate` does with `around`."""
        text = text_rows(self.vlm, batch.samples)

        def bind(prompt: Prompt) -> Method:
            # beams and repeated sequences: transformers repeats each prompt in place
            times = prompt.input_ids.shape[0] // len(batch.samples)
            if not torch.equal(prompt.input_ids, batch.inputs["input_ids"].repeat_interleave(times, dim=0)):
                raise EditError(
                    "the model was called with other prompts than the batch that the guard was put around; open the guard anew for them"
                )
            rows = tuple(row for row in text for _ in range(times))
            samples = tuple(sample for sample in batch.samples for _ in range(times))
            return bound(self.method, Reading(self.vlm.anatomy, self.vlm.pad, rows, samples, self.vlm, self.memory))

        with editing(self.vlm.model, self.vlm.anatomy, self.method.layers, bind) as trace:
            yield
        check_ran(trace, self.method)


def steer(vlm: VLM, method: Method | Binds, *, memory: Memory | None = None, other_model: bool = False) -> Steered:
    """Return `vlm` with `method` in place, as another `Generate`.

    Args:
        vlm: the model; it is not changed.
        method: for example a VlmGuard.
        memory: share what was read with other methods on the same model.
        other_model: use a guard although it was made for another model.

    Raises:
        FingerprintMismatch: the guard was made for another model, or does not fit this one at all.
        UnknownName: a layer that the model does not have.
    """
    vlm.anatomy.check_layers(method.layers)
    # read anew: the weights may have changed since the model was wrapped
    other = _compare(method, fingerprint(vlm.model, vlm.processor), allowed=other_model)
    return Steered(vlm, method, memory if memory is not None else Memory(), other)


@contextmanager
def on(method: Method | Binds, model: VLM | nn.Module, *, other_model: bool = False) -> Iterator[Trace]:
    """Guard a model that is called elsewhere, `model.generate` or a forward pass, as long as the `with` lasts.

    The text-only query of a prompt is then its tokens without the image placeholders. What a template writes around a picture
    (a line break, say) stays in it, so scores may differ a little from those of `steer`, on which thresholds were set; and a
    prompt that is only pictures looks like an empty question. Use `steer` where you have samples.

    Args:
        method: for example a VlmGuard.
        model: the model, inside a peft wrapper or not.
        other_model: use a guard although it was made for another model.

    Raises:
        FingerprintMismatch: the guard was made for another model, or does not fit this one at all.
        EditError: a call whose prompt the guard cannot see whole.
        EditNeverRan: the edit did not happen, or the model was never called inside the `with` (a copy of it, perhaps).
    """
    wrapped = model.model if isinstance(model, VLM) else model
    anatomy = find_anatomy(wrapped)
    anatomy.check_layers(method.layers)
    _compare(method, _fingerprint_of(method, model), allowed=other_model)
    pad = int(getattr(unwrap(wrapped).config.get_text_config(), "pad_token_id", None) or 0)

    memory = Memory()

    def bind(prompt: Prompt) -> Method:
        shown = tuple((prompt.image & prompt.real).any(1).tolist())
        return bound(method, Reading(anatomy, pad, tuple(rows_without_images(prompt)), memory=memory, shown=shown))

    with editing(wrapped, anatomy, method.layers, bind) as trace:
        yield trace
    if not trace.calls:
        raise EditNeverRan(
            f"{method.name} stood around a block in which the model that it guards was never called; if another copy of it was "
            "called there, that one was unguarded"
        )


def check_ran(trace: Trace, method: Method | Binds) -> None:
    """Raise EditNeverRan unless every layer of `method` was reached for every prompt that was read."""
    short = [layer for layer in method.layers if trace.fired.get(layer, 0) < max(trace.prompts, 1)]
    if short:
        raise EditNeverRan(
            f"{method.name} was to edit layers {list(method.layers)}; layers {short} never ran, so the answer is unguarded and withheld"
        )


def _compare(method: Method | Binds, here: Fingerprint, *, allowed: bool) -> bool:
    """Return whether `method` was made for another model than `here`; raise where that is not allowed, or cannot work."""
    made_for: Fingerprint | None = getattr(method, "fingerprint", None)
    if made_for is None:
        return False
    differences = made_for.differences(here)
    if made_for.hidden_size != here.hidden_size or (differences and not allowed):
        raise FingerprintMismatch(
            "this guard was made for another model: "
            + "; ".join(differences)
            + ". Fit one on this model (`sightguard fit`)"
            + ("." if allowed else "; from Python, other_model=True uses it all the same.")
        )
    if differences:
        warnings.warn(f"a guard is used on a model that it was not made for: {'; '.join(differences)}", stacklevel=4)
    elif line := made_for.dtype_difference(here):
        warnings.warn(
            f"a guard is used at another precision than it was fitted at ({line}); calibrate it again", stacklevel=4
        )
    return bool(differences)


def _fingerprint_of(method: Method | Binds, model: VLM | nn.Module) -> Fingerprint:
    if isinstance(model, VLM):
        return fingerprint(model.model, model.processor)
    here = fingerprint(model, None)
    made_for: Fingerprint | None = getattr(method, "fingerprint", None)
    if made_for is None:
        return here
    # without a processor only the model can be compared; the prompt's form is the caller's
    return replace(here, chat_template_sha256=made_for.chat_template_sha256, image_processor=made_for.image_processor)
