"""The request of /v1/chat/completions as a schema; what it cannot say is checked in `sightguard.serve.wire.chat`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema, create_model
from pydantic_core import PydanticCustomError

from sightguard.serve.wire.fields import Refused, fields
from sightguard.serve.wire.shapes import Shape, Text
from sightguard.serve.wire.turns import Turn

INT64 = 2**63
_stop = Annotated[Text, Field(min_length=1)]


def _stop_shape(value: object) -> str | None:
    if isinstance(value, str):
        return "string"
    return "list" if isinstance(value, list) else None


Stop = Annotated[
    Annotated[_stop, Tag("string")] | Annotated[list[_stop], Field(max_length=4, fail_fast=True), Tag("list")],
    Discriminator(_stop_shape, custom_error_type="stop_type", custom_error_message="expected a string or a list"),
]


def _integral(value: Any) -> Any:
    """JSON has one kind of number: 1.0 is the integer 1."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_integer = BeforeValidator(_integral)
Count = Annotated[int, Field(ge=1, lt=INT64), _integer]


class StreamOptions(Shape):
    """How an answer is streamed."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class InputPolicy(Shape):
    """What is done with what the inspectors say of the request: told, or told and a flagged request refused."""

    mode: Literal["score", "block"]


class OutputPolicy(Shape):
    """No inspector of this server reads answers: asked to score them it says so, and asked to block them it refuses to begin."""

    mode: Literal["score"]


class ModerationPolicy(Shape):
    """Of the request and of the answer."""

    input: InputPolicy | None = None
    output: OutputPolicy | None = None


class ModerationWish(Shape):
    """In-chat moderation."""

    model: Text
    policy: ModerationPolicy | None = None


class Taken(Shape):
    """The fields of a chat request that are kept to."""

    messages: Annotated[list[Turn], Field(min_length=1, fail_fast=True)]
    model: Text
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-INT64, lt=INT64), _integer] | None = None
    stop: Stop | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20), _integer] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    moderation: ModerationWish | None = None


def _refused(field: Refused) -> Any:
    def check(value: Any) -> Any:
        if field.asks(value):
            raise PydanticCustomError("unsupported_parameter", "{why}", {"why": field.why})
        return value

    return Annotated[
        Any,
        AfterValidator(check),
        WithJsonSchema({"enum": list(field.neutral), "description": f"Not taken: {field.why}."}),
    ]


def _ignored(why: str) -> Any:
    return Annotated[Any, Field(description=f"Accepted and ignored: {why}.")]


if TYPE_CHECKING:

    class ChatRequest(Taken):
        """A request for an answer."""

else:
    ChatRequest = create_model(
        "ChatRequest",
        __base__=Taken,
        __doc__="A request for an answer.",
        **{name: (_ignored(why), None) for name, why in fields().ignored.items()},
        **{name: (_refused(field), None) for name, field in fields().refused.items()},
    )
