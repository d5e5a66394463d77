"""/v1/moderations: what the guard's inspectors say of inputs that nobody wants answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from sightguard.serve.job import Inspection
from sightguard.serve.room import Room
from sightguard.serve.settings import Settings
from sightguard.serve.wire.chat import received
from sightguard.serve.wire.errors import WireError
from sightguard.serve.wire.faults import parse
from sightguard.serve.wire.models import check_model
from sightguard.serve.wire.pictures import Fetch, Pictures
from sightguard.serve.wire.results import result
from sightguard.serve.wire.shapes import MAX_PARTS, ImagePart, Shape, Text
from sightguard.serve.wire.turns import UserPart
from sightguard.types import Message, Sample


def _shape(value: object) -> str | None:
    if isinstance(value, str):
        return "string"
    if not isinstance(value, list):
        return None
    return "parts" if value and isinstance(value[0], dict) else "strings"


_many = Field(min_length=1, max_length=MAX_PARTS, fail_fast=True)
Input = Annotated[
    Annotated[Text, Tag("string")]
    | Annotated[list[Text], _many, Tag("strings")]
    | Annotated[list[UserPart], _many, Tag("parts")],
    Discriminator(
        _shape,
        custom_error_type="input_type",
        custom_error_message="expected a string, a list of strings or a list of parts",
    ),
]


class ModerationRequest(Shape):
    """A request for moderation: one text, several texts, or the parts of one input."""

    input: Input
    model: Text | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is to be looked at: one result each."""

    samples: tuple[Sample, ...] = field(repr=False)
    received: tuple[Mapping[str, int], ...]

    def together(self, id: str) -> Sample:
        """Return all inputs as one sample, each a turn of it, as the log writes them down."""
        return Sample(id, tuple(message for sample in self.samples for message in sample.messages))

    def total(self) -> dict[str, int]:
        """Return the parts of all inputs by kind."""
        return {kind: sum(parts.get(kind, 0) for parts in self.received) for kind in ("text", "image")}


def read(
    body: object,
    settings: Settings,
    names: Sequence[str],
    *,
    id: str = "request",
    fetch: Fetch | None = None,
    room: Room | None = None,
) -> Inputs:
    """Return the inputs of a request: a list of strings is several, a list of parts is one. Pictures are decoded: call it in a thread.

    Args:
        body: JSON, parsed.
        settings: limits.
        names: by which the model and its inspectors may be called.
        id: under which the samples are numbered.
        fetch: gets pictures by address; None: data URIs only.
        room: for what is decoded at the same time by all requests.

    Raises:
        WireError: the request cannot be kept to as it stands; 404 for another model, else 400.
    """
    asked = parse(ModerationRequest, body)
    if asked.model is not None:
        check_model(asked.model, names)
    given = asked.input
    texts = [given] if isinstance(given, str) else [text for text in given if isinstance(text, str)]
    if texts:
        samples = tuple(Sample.of(text, id=f"{id}/{i}") for i, text in enumerate(texts))
    else:
        pictures = Pictures(settings, fetch, room)
        samples = (_one([part for part in given if not isinstance(part, str)], settings, f"{id}/0", pictures),)
        pictures.check("input")
    return Inputs(samples, tuple(map(received, samples)))


def response(id: str, model: str, inputs: Inputs, found: Sequence[Inspection]) -> dict[str, Any]:
    """Return the body of the answer, one result for each input.

    Args:
        id: of the response.
        model: that looked.
        inputs: as they were read.
        found: what the inspectors say of each.

    Raises:
        WireError: 400 `not_inspected`: an input was not looked at, and "not flagged" would be a lie.
    """
    pairs = zip(found, inputs.received, strict=True)
    results = [result(one, parts, "input" if len(found) == 1 else f"input.{i}") for i, (one, parts) in enumerate(pairs)]
    return {"id": id, "model": model, "results": results}


def _one(parts: Sequence[UserPart], settings: Settings, id: str, pictures: Pictures) -> Sample:
    found = sum(isinstance(part, ImagePart) for part in parts)
    if found > (most := settings.max_images):
        raise WireError(
            400, f"input: expected at most {most} pictures; got {found}.", param="input", code="too_many_images"
        )
    read = (
        pictures.take(part.image_url.url, f"input.{i}.image_url.url") if isinstance(part, ImagePart) else part.text
        for i, part in enumerate(parts)
    )
    return Sample(id, (Message("user", tuple(read)),))
