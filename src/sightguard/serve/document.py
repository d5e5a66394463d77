"""The document of the API: what each route takes, and how it may end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sightguard.serve.wire.schemas import schemas

if TYPE_CHECKING:
    from fastapi import FastAPI

    from sightguard.serve.service import Service

ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_PROBLEM = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": what, **_PROBLEM}
    for status, what in {
        400: "The request cannot be kept to as it stands.",
        401: "A key is asked for, and none fits.",
        404: "Another model is served here.",
        408: "The body did not come whole in time.",
        413: "The body is too large.",
        415: "The body is of another type than application/json.",
        429: "Too many requests wait.",
        503: "There is no room, no memory or no log for this request.",
        504: "There was no answer in time.",
    }.items()
}
STREAMED: dict[int | str, dict[str, Any]] = {
    200: {"description": "The answer; with `stream`, its chunks as events.", "content": {"text/event-stream": {}}}
}


def takes(name: str) -> dict[str, Any]:
    """Return what a route says of its body."""
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def describe(app: FastAPI, service: Service) -> None:
    """Put the schemas of the bodies, which are read by hand, into the document of the API."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        document = made()
        parts = document.setdefault("components", {}).setdefault("schemas", {})
        parts.update(schemas(service.settings, service.names))
        parts["Error"] = ERROR
        return document

    app.openapi = openapi  # type: ignore[method-assign]
