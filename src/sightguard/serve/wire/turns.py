"""The turns of a chat, as they are sent."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from sightguard.serve.wire.shapes import MAX_PARTS, ImagePart, Shape, Text, TextPart

Nothing = Annotated[list[Any], Field(max_length=0)] | None
"""A field of the official client's answers that is empty here, so that an answer can be sent back as a turn."""
UserPart = Annotated[TextPart | ImagePart, Field(discriminator="type")]


def _shape(content: object) -> str | None:
    if isinstance(content, str):
        return "string"
    return "parts" if isinstance(content, list) else None


def _no_picture(part: Any) -> Any:
    if isinstance(part, dict) and part.get("type") not in ("text", None):
        raise PydanticCustomError("unsupported_value", "only a turn of the user holds other parts than text")
    return part


_either = Discriminator(
    _shape, custom_error_type="content_type", custom_error_message="expected a string or a list of parts"
)
_many = Field(min_length=1, max_length=MAX_PARTS, fail_fast=True)
WordsPart = Annotated[TextPart, BeforeValidator(_no_picture)]
Words = Annotated[Annotated[Text, Tag("string")] | Annotated[list[WordsPart], _many, Tag("parts")], _either]
Content = Annotated[Annotated[Text, Tag("string")] | Annotated[list[UserPart], _many, Tag("parts")], _either]


class SystemTurn(Shape):
    """What the operator of the client says."""

    role: Literal["system", "developer"]
    content: Words
    name: None = None


class UserTurn(Shape):
    """What the user says and shows."""

    role: Literal["user"]
    content: Content
    name: None = None


class AssistantTurn(Shape):
    """An earlier answer: `content`, or `refusal` where the answer was one."""

    role: Literal["assistant"]
    content: Words | None = None
    refusal: Text | None = None
    name: None = None
    annotations: Nothing = None
    audio: None = None
    function_call: None = None
    tool_calls: Nothing = None


Turn = Annotated[SystemTurn | UserTurn | AssistantTurn, Field(discriminator="role")]
