"""The schemas of the requests for OpenAPI, with the limits of one server in them, so that the document says what is really taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic.json_schema import models_json_schema

from sightguard.serve.settings import Settings
from sightguard.serve.wire.moderations import ModerationRequest
from sightguard.serve.wire.requests import ChatRequest

DATA_URI = "^data:image/[A-Za-z0-9][A-Za-z0-9.+-]{0,63};base64,[A-Za-z0-9+/]+={0,2}$"


def schemas(settings: Settings, names: Sequence[str]) -> dict[str, Any]:
    """Return `components.schemas`; "ChatRequest" and "ModerationRequest" are the bodies, the others what they refer to.

    A schema cannot say that the last turn is the user's, that a picture can be decoded, or which fields need one another.

    Args:
        settings: limits.
        names: as for `sightguard.serve.wire.chat.read`.
    """
    asked = [(ChatRequest, "validation"), (ModerationRequest, "validation")]
    _, made = models_json_schema(asked, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    found: dict[str, Any] = made["$defs"]
    chat = found["ChatRequest"]["properties"]
    chat["messages"]["maxItems"] = settings.max_messages
    chat["model"]["enum"] = [names[0]]
    for field in ("max_tokens", "max_completion_tokens"):
        _some(chat[field]).update(maximum=settings.max_tokens)
        _some(chat[field]).pop("exclusiveMaximum")
    found["ModerationWish"]["properties"]["model"]["enum"] = list(names)
    _some(found["ModerationRequest"]["properties"]["model"])["enum"] = list(names)
    if not settings.image_hosts:
        found["ImageUrl"]["properties"]["url"]["pattern"] = DATA_URI
    return found


def _some(field: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a field that may be null, where it is not."""
    some: dict[str, Any] = next(schema for schema in field["anyOf"] if schema.get("type") != "null")
    return some
