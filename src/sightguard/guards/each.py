"""Asking several samples at once, so that one bad sample does not take the others along."""

from __future__ import annotations

from collections.abc import Sequence

from sightguard.errors import UsageError
from sightguard.types import Generate, Response, Sample


def answers(generate: Generate, samples: Sequence[Sample]) -> list[Response]:
    """Return one response for each sample: asked all at once, and if that fails one by one; what fails alone is a response with `error` set."""
    if not samples:
        return []
    try:
        responses = list(generate(samples))
        if len(responses) != len(samples):
            raise UsageError(f"expected {len(samples)} responses, one for each sample; got {len(responses)}")
    except Exception as error:
        if len(samples) > 1:
            return [answers(generate, [sample])[0] for sample in samples]
        return [Response("", error=f"{type(error).__name__}: {error}")]
    return responses
