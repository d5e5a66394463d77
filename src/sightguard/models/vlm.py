"""A loaded vision-language model, seen through its parts. It is a `Generate`: samples in, responses out, same order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sightguard.artifacts import Fingerprint
from sightguard.errors import UsageError
from sightguard.models.anatomy import Anatomy, find_anatomy, unwrap
from sightguard.models.encode import Batch, encode, pad_token
from sightguard.models.fingerprint import fingerprint
from sightguard.models.hooks import alone
from sightguard.models.length import fixed_length
from sightguard.models.thinking import Thoughts, thoughts_of
from sightguard.types import Response, Sample

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel

    from sightguard.models.placement import DeviceMap
    from sightguard.models.quantize import Bits

Around = Callable[[Batch], Any]
"""What `generate` opens around the call of the model for one batch: a context manager, such as an edit."""
PerBatch = Callable[[Batch], Mapping[str, Any]]
"""Further options of transformers' `generate` for one batch, made when its rows are known: a processor of logits with a state for each row."""


@dataclass(frozen=True)
class VLM:
    """A vision-language model and its processor.

        vlm = VLM.load("pocket")
        vlm([Sample.of("how do i fix the lamp ?")])      # -> [Response(...)]

    `VLM(model, processor)` wraps a model that is loaded already; nothing in it is changed.
    """

    model: PreTrainedModel
    processor: Any
    max_new_tokens: int = 64
    batch: int = 16
    anatomy: Anatomy = field(init=False, repr=False)
    fingerprint: Fingerprint = field(init=False, repr=False)
    thoughts: Thoughts | None = field(init=False, repr=False)
    """How the model marks its thoughts, if its chat template names a mark."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "thoughts", thoughts_of(self.processor))
        object.__setattr__(self, "anatomy", find_anatomy(self.model))
        object.__setattr__(self, "fingerprint", fingerprint(self.model, self.processor))

    @staticmethod
    def load(
        source: str | Path,
        *,
        revision: str | None = None,
        dtype: str = "auto",
        device: str | None = None,
        device_map: DeviceMap | None = None,
        max_memory: Mapping[int | str, int | str] | None = None,
        offload_folder: str | Path | None = None,
        quantization: Bits | None = None,
        quantization_config: Any = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
    ) -> VLM:
        """Load a model by name ("pocket"), folder or hub id; see `sightguard.models.load`."""
        from sightguard.models.load import load

        model, processor = load(
            source,
            revision=revision,
            dtype=dtype,
            device=device,
            device_map=device_map,
            max_memory=max_memory,
            offload_folder=offload_folder,
            quantization=quantization,
            quantization_config=quantization_config,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )
        return VLM(model, processor)

    @property
    def device(self) -> torch.device:
        """Where inputs go: the device of the embeddings. In a model over several devices, blocks run on others too."""
        return self.anatomy.device

    @property
    def context(self) -> int | None:
        """The longest prompt in tokens, if the configuration states one."""
        return getattr(unwrap(self.model).config.get_text_config(), "max_position_embeddings", None)

    def encode(self, samples: Sequence[Sample]) -> Batch:
        """Encode samples into one left-padded batch on the model's device; pictures in the model's dtype.

        Raises:
            DataError, PictureError: a sample that cannot be encoded; the message names it.
            UsageError: different numbers of pictures in one batch, for a model with cross-attention (see `batches`).
        """
        if self.anatomy.crossing and len({len(sample.images) for sample in samples}) > 1:
            raise UsageError(
                "this model looks at pictures by cross-attention, and would read a prompt differently beside prompts with more pictures. "
                "Encode prompts with the same number of pictures together, as VLM.batches does."
            )
        with alone(self.anatomy):  # a fast tokenizer keeps how it pads, so two threads would disturb each other
            batch = encode(
                self.processor,
                samples,
                image_token_id=self.anatomy.image_token_id,
                token_types=self.anatomy.token_types,
                limit=self.context,
            )
        inputs = {name: self.place(value) for name, value in batch.inputs.items()}
        return replace(batch, inputs=inputs, real=batch.real.to(self.device), image=batch.image.to(self.device))

    def __call__(self, samples: Sequence[Sample]) -> list[Response]:
        return self.generate(samples)

    def generate(
        self,
        samples: Sequence[Sample],
        *,
        max_new_tokens: int | None = None,
        batch: int | None = None,
        seed: int | None = None,
        around: Around | None = None,
        per_batch: PerBatch | None = None,
        progress: Callable[[int], None] | None = None,
        **decoding: Any,
    ) -> list[Response]:
        """Answer `samples`; prompts of like length share a batch, and answers come back in the order of the samples.

        Args:
            samples: conversations that end with the user.
            max_new_tokens: longest answer in tokens; default `self.max_new_tokens`.
            batch: prompts per pass; default `self.batch`.
            seed: makes sampling repeatable, for the same samples in the same batches, without touching the global generator.
            around: a context manager opened around the model for each batch (how methods are put in place).
            per_batch: further options for each batch, which it sees encoded; its rows are `batch.samples`.
            progress: called with the number of samples answered after each batch.
            decoding: passed to transformers' `generate` (`do_sample`, `num_beams`, …); greedy by default.

        Raises:
            UsageError: options that leave no one answer per sample.
            DataError, PictureError: a sample that cannot be encoded; the message names it.
        """
        longest = self.max_new_tokens if max_new_tokens is None else max_new_tokens
        size = self.batch if batch is None else batch
        _check_options(longest, size, decoding)
        answers: dict[int, Response] = {}
        options: dict[str, Any] = {
            "do_sample": False,
            "num_return_sequences": 1,
            **decoding,
            "max_new_tokens": longest,
            **(fixed_length() if max_new_tokens is None else {}),
        }
        with _seeded(seed, self.device):
            for indices in self.batches(samples, size):
                found = self._answer([samples[i] for i in indices], options, around, per_batch)
                answers.update(zip(indices, found, strict=True))
                if progress is not None:
                    progress(len(indices))
        return [answers[i] for i in range(len(samples))]

    @property
    def pad(self) -> int:
        """A token to pad with; it is masked, so any will do where the tokenizer has none."""
        return pad_token(self.processor.tokenizer)

    def place(self, value: Any) -> Any:
        """Return an input on the model's device; pictures in its dtype."""
        if not isinstance(value, Tensor):
            return value
        return value.to(self.device, self.model.dtype) if value.is_floating_point() else value.to(self.device)

    def batches(self, samples: Sequence[Sample], size: int) -> Iterator[list[int]]:
        """Yield the places of `samples` in batches of at most `size`, prompts of like length together.

        In a model with cross-attention, prompts with another number of pictures never share a batch: tokens that see no picture, and
        prompts without one, would be read differently beside such that have more.
        """
        order = sorted(range(len(samples)), key=lambda i: (len(samples[i].images), len(samples[i].text)))
        apart = groupby(order, key=lambda i: len(samples[i].images) if self.anatomy.crossing else 0)
        for group in [list(places) for _, places in apart]:
            for start in range(0, len(group), size):
                yield group[start : start + size]

    def _answer(
        self, samples: list[Sample], options: dict[str, Any], around: Around | None, per_batch: PerBatch | None
    ) -> list[Response]:
        batch = self.encode(samples)
        if per_batch is not None:
            options = {**options, **per_batch(batch)}
        began = time.perf_counter()
        with alone(self.anatomy), around(batch) if around else nullcontext(), torch.no_grad():
            tokens = self.model.generate(**batch.inputs, **options)
        seconds = (time.perf_counter() - began) / len(samples)
        written = tokens[:, batch.length :].tolist()
        prompts = batch.real.sum(1).tolist()
        ends = _as_set(options["eos_token_id"]) if "eos_token_id" in options else self.ends
        return [self._response(row, prompt, seconds, ends) for row, prompt in zip(written, prompts, strict=True)]

    def _response(self, tokens: list[int], prompt_tokens: int, seconds: float, ends: set[int]) -> Response:
        stop = next((i for i, token in enumerate(tokens) if token in ends), None)
        written = tokens if stop is None else tokens[:stop]
        thought, answer = self.thoughts.split(written) if self.thoughts else ([], written)
        text, thinking = (
            self.processor.tokenizer.decode(p, skip_special_tokens=True).strip() for p in (answer, thought)
        )
        return Response(
            text,
            thought=thinking,
            finish_reason="length" if stop is None else "stop",
            prompt_tokens=prompt_tokens,
            answer_tokens=len(written),
            seconds=seconds,
        )

    @property
    def ends(self) -> set[int]:
        """The tokens that end an answer."""
        return _as_set(self.model.generation_config.eos_token_id)


def _as_set(ends: int | list[int] | None) -> set[int]:
    if ends is None:
        return set()
    return set(ends) if isinstance(ends, list) else {ends}


@contextmanager
def _seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Seed sampling inside the block, and leave the global generator as it was."""
    with torch.random.fork_rng([device] if device.type == "cuda" else [], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        yield


def _check_options(longest: int, size: int, decoding: dict[str, Any]) -> None:
    for name, value in (("max_new_tokens", longest), ("batch", size)):
        if value < 1:
            raise UsageError(f"{name} must be at least 1; got {value}")
    if decoding.get("num_return_sequences", 1) != 1:
        raise UsageError(
            "VLM.generate gives one response per sample; num_return_sequences was "
            f"{decoding['num_return_sequences']}. For several, use `with guard.on(model): model.generate(...)`."
        )
    if decoding.get("return_dict_in_generate"):
        raise UsageError(
            "VLM.generate gives responses, not transformers' own output. For scores and states, use `with guard.on(model): model.generate(...)`."
        )
