"""What every request's shape has in common: nothing is converted, nothing unknown is let pass, and one fault ends the reading."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from sightguard.serve.wire.errors import shown

MAX_PARTS = 1024
"""Parts of one turn."""


def _whole(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise PydanticCustomError(
            "invalid_text",
            "holds half of a surrogate pair at character {place}, which is no text; expected well-formed Unicode",
            {"place": error.start},
        ) from None
    return text


Text = Annotated[str, AfterValidator(_whole)]
"""Text that UTF-8 can hold: a lone surrogate is an error."""


class Shape(BaseModel):
    """An object of a request."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, values: Any) -> Any:
        """End at the first unknown field: a body with a million of them costs no million errors."""
        if isinstance(values, dict):
            unknown = next((name for name in values if name not in cls.model_fields), None)
            if unknown is not None:
                raise PydanticCustomError("unknown_parameter", "{name}", {"name": shown(unknown)})
        return values


class ImageUrl(Shape):
    """Where a picture is: its bytes as a data URI, or an address where the server allows that."""

    url: Text
    detail: Literal["auto", "low", "high", "original"] | None = None
    """Accepted; a picture is read as the model reads it."""


class TextPart(Shape):
    """Text of a turn."""

    type: Literal["text"]
    text: Text
    prompt_cache_breakpoint: Any = None


class ImagePart(Shape):
    """A picture of a turn."""

    type: Literal["image_url"]
    image_url: ImageUrl
    prompt_cache_breakpoint: Any = None
