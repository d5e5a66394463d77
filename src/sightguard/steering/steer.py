"""Puts a method in place: around a VLM (a value, the VLM stays as it is) or around a model that is called elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sightguard.errors import EditNeverRan, FingerprintMismatch
from sightguard.models.anatomy import find_anatomy, unwrap
from sightguard.models.encode import Batch
from sightguard.models.fingerprint import weights_digest
from sightguard.models.hooks import Prompt, Trace, editing, recording
from sightguard.models.vlm import VLM
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

    def __call__(self, samples: Sequence[Sample]) -> list[Response]:
        return self.generate(samples)

    def generate(self, samples: Sequence[Sample], **options: Any) -> list[Response]:
        """Answer `samples`; options as for `VLM.generate`."""
        responses = self.vlm.generate(samples, around=self.around, **options)
        return [replace(response, methods=(*response.methods, self.method.name)) for response in responses]

    @torch.no_grad()
    def states(self, samples: Sequence[Sample], layers: Sequence[int], *, batch: int = 32) -> Tensor:
        """Return last-prompt-token states as they are after the edit: `layers x samples x hidden`, float32, in the samples' order."""
        wanted = self.vlm.anatomy.check_layers(layers)
        parts = []
        for start in range(0, len(samples), batch):
            encoded = self.vlm.encode(samples[start : start + batch])
            with self.around(encoded), recording(self.vlm.anatomy, wanted) as seen:
                unwrap(self.vlm.model).base_model(**encoded.inputs, use_cache=False)
            parts.append(torch.stack([seen[layer][:, -1].float() for layer in wanted]))
        return torch.cat(parts, dim=1)

    @contextmanager
    def around(self, batch: Batch) -> Iterator[None]:
        """Put the method in place for one encoded batch, as `VLM.generate` does with `around`."""
        text = text_rows(self.vlm, batch.samples)

        def bind(prompt: Prompt) -> Method:
            # beams and repeated sequences: transformers repeats each prompt in place
            times = prompt.input_ids.shape[0] // len(batch.samples)
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
        FingerprintMismatch: the guard was made for another model.
        UnknownName: a layer that the model does not have.
    """
    vlm.anatomy.check_layers(method.layers)
    made_for = getattr(method, "fingerprint", None)
    if made_for is not None and not other_model:
        refuse(made_for.differences(vlm.fingerprint))
    return Steered(vlm, method, memory if memory is not None else Memory())


@contextmanager
def on(method: Method | Binds, model: VLM | nn.Module, *, other_model: bool = False) -> Iterator[Trace]:
    """Guard a model that is called elsewhere, `model.generate` or a forward pass, as long as the `with` lasts.

    The text-only query of a prompt is then its tokens without the image placeholders.

    Args:
        method: for example a VlmGuard.
        model: the model, inside a peft wrapper or not.
        other_model: use a guard although it was made for another model.

    Raises:
        FingerprintMismatch: the guard was made for another model.
        EditNeverRan: a prompt was read and the edit did not happen.
    """
    wrapped = model.model if isinstance(model, VLM) else model
    anatomy = find_anatomy(wrapped)
    anatomy.check_layers(method.layers)
    made_for = getattr(method, "fingerprint", None)
    if made_for is not None and not other_model:
        refuse(_model_differences(made_for, model, wrapped))
    pad = int(getattr(unwrap(wrapped).config.get_text_config(), "pad_token_id", None) or 0)

    memory = Memory()

    def bind(prompt: Prompt) -> Method:
        return bound(method, Reading(anatomy, pad, tuple(rows_without_images(prompt)), memory=memory))

    with editing(wrapped, anatomy, method.layers, bind) as trace:
        yield trace


def refuse(differences: Sequence[str]) -> None:
    """Raise FingerprintMismatch where there are differences."""
    if differences:
        raise FingerprintMismatch(
            "this guard was made for another model: "
            + "; ".join(differences)
            + ". Fit one on this model (`sightguard fit`), "
            "or pass other_model=True to use it all the same."
        )


def check_ran(trace: Trace, method: Method | Binds) -> None:
    """Raise EditNeverRan unless every layer of `method` was reached for every prompt that was read."""
    short = [layer for layer in method.layers if trace.fired.get(layer, 0) < max(trace.prompts, 1)]
    if short:
        raise EditNeverRan(
            f"{method.name} was to edit layers {list(method.layers)}; layers {short} never ran, so the answer is unguarded and withheld"
        )


def _model_differences(made_for: Any, model: VLM | nn.Module, wrapped: nn.Module) -> list[str]:
    if isinstance(model, VLM):
        return list(made_for.differences(model.fingerprint))
    inner = unwrap(wrapped)
    # without a processor only the model can be compared; the prompt's form is the caller's
    facts = {
        "architecture": type(inner).__name__,
        "hidden_size": int(inner.config.get_text_config().hidden_size),
        "layers": int(inner.config.get_text_config().num_hidden_layers),
    }
    found = [
        f"{name}: {getattr(made_for, name)} there, {value} here"
        for name, value in facts.items()
        if getattr(made_for, name) != value
    ]
    same_dtype = made_for.dtype == str(inner.dtype).removeprefix("torch.")
    if not found and same_dtype and made_for.weights_sha256 not in (None, weights_digest(inner.get_decoder())):
        found.append("weights: the decoder's values differ")
    return found
