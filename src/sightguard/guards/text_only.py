"""The text-only model: pictures are dropped before the model is asked. No alignment of states can do better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sightguard.errors import DataError
from sightguard.types import Generate, Response, Sample


@dataclass(frozen=True, slots=True)
class TextOnly:
    """A guard that lets the model see the words alone.

    Example:
        >>> from sightguard.testing import FakeGenerate
        >>> from sightguard.types import Image
        >>> model = FakeGenerate({"hello": "hi"})
        >>> [response.text for response in TextOnly()(model)([Sample.of("hello", Image(data=b"..."))])]
        ['hi']
        >>> model.samples[0].images
        ()
    """

    name: str = "text_only_model"

    def __call__(self, generate: Generate) -> Generate:
        """Return `generate` behind a filter that removes pictures."""

        def guarded(samples: Sequence[Sample]) -> list[Response]:
            responses = generate([_words_of(sample) for sample in samples])
            return [replace(response, methods=(*response.methods, self.name)) for response in responses]

        return guarded


def _words_of(sample: Sample) -> Sample:
    words = sample.without_images()
    if not words.messages or not words.messages[-1].text.strip():
        raise DataError(f"sample {sample.id!r} asks by pictures only: without them nothing is left to ask")
    return words
