"""From what pydantic finds wrong to one error of ours, which names the field and never repeats its content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from sightguard.serve.wire.errors import WireError, shown

Shaped = TypeVar("Shaped", bound=BaseModel)

_ROLES = "system, developer, user and assistant; tools and functions are not called here"
_PARTS = "text and image_url; take the part out, or pass the frames of a video that matter as pictures"
_WRONG_TYPES = ("_type", "_parsing")


def parse(shape: type[Shaped], body: object) -> Shaped:
    """Return the request that a body of JSON holds.

    Raises:
        WireError: it does not have the shape; 400.
    """
    try:
        return shape.model_validate(body)
    except ValidationError as error:
        raise fault(_found(error), body) from None


def _found(error: ValidationError) -> Sequence[Mapping[str, Any]]:
    try:
        return error.errors(include_url=False, include_input=False)
    except UnicodeEncodeError:  # pydantic cannot say which name holds half of a surrogate pair
        return [{"type": "invalid_text", "loc": (), "msg": "a name or a kind in it is no well-formed Unicode"}]


def fault(errors: Sequence[Mapping[str, Any]], body: object) -> WireError:
    """Return the error for what pydantic found: of several faults the one that lies deepest, as the others follow from it.

    Args:
        errors: of a `ValidationError`, or of FastAPI's `RequestValidationError` with "body" taken from the front of each `loc`.
        body: what was sent.
    """
    paths = [_path(error, body) for error in errors]
    worst = max(range(len(errors)), key=lambda i: len(paths[i]))
    error, path = errors[worst], paths[worst]
    param = ".".join(map(str, path)) or None
    code, message = _said(error, path)
    return WireError(400, f"{param or 'the body'}: {message}", param=param, code=code)


def _path(error: Mapping[str, Any], body: object) -> list[str | int]:
    """Return where the fault stands in the body; pydantic's own words for branches of a union are left out."""
    kind, steps = error["type"], error["loc"]
    path: list[str | int] = []
    here: Any = body
    tagged = False
    for number, step in enumerate(steps):
        field = number == len(steps) - 1 and kind != "unknown_parameter"
        if not tagged and not field and _names_itself(here, step):
            tagged = True
        elif _leads(here, step):
            path, here, tagged = [*path, step], here[step], False
    if kind == "missing":
        path.append(steps[-1])
    elif kind == "unknown_parameter":
        path.append(error["ctx"]["name"][1:-1])
    elif kind.startswith("union_tag"):
        path.append(error["ctx"]["discriminator"].strip("'"))
    return path


def _leads(here: object, step: str | int) -> bool:
    if isinstance(here, dict):
        return isinstance(step, str) and step in here
    return isinstance(here, list) and isinstance(step, int) and 0 <= step < len(here)


def _names_itself(part: object, step: str | int) -> bool:
    """Whether a step is the kind of the part, which pydantic puts into the path, rather than a field in it."""
    return isinstance(part, dict) and step in (part.get("type"), part.get("role"))


def _said(error: Mapping[str, Any], path: Sequence[str | int]) -> tuple[str, str]:
    kind, context = str(error["type"]), error.get("ctx", {})
    if kind == "missing":
        return "missing_required_parameter", "is missing. Send it."
    if kind in ("too_short", "string_too_short"):
        return "invalid_value", "is empty."
    if kind == "unsupported_value":
        return kind, f"{error['msg']}."
    if kind == "unknown_parameter":
        return kind, "is not known to this server. Leave it out."
    if kind == "unsupported_parameter":
        return kind, f"{context['why']}. Leave it out."
    if kind.startswith("union_tag"):
        return _tag(kind, context)
    if path and path[-1] in _ALWAYS_NULL:
        return "unsupported_parameter", f"{_ALWAYS_NULL[path[-1]]}. Leave it out."
    if path[-2:] == ["output", "mode"]:
        return (
            "unsupported_value",
            "answers are not inspected here, so they cannot be blocked. Ask for 'score', or leave it out.",
        )
    if kind == "model_type":
        return "invalid_type", "expected an object."
    wrong_type = kind.endswith(_WRONG_TYPES) or kind == "string_unicode"
    return "invalid_type" if wrong_type else "invalid_value", f"{error['msg']}."


def _tag(kind: str, context: Mapping[str, Any]) -> tuple[str, str]:
    name = str(context["discriminator"]).strip("'")
    known = _ROLES if name == "role" else _PARTS
    if kind == "union_tag_not_found":
        return "missing_required_parameter", f"needs a {name}. Known: {known}."
    return "unsupported_value", f"no {name} {shown(context['tag'])}. Known: {known}."


_ALWAYS_NULL: Mapping[str | int, str] = {
    "name": "speakers of a role are not told apart here; put the name into the text",
    "tool_calls": "this server calls no tools",
    "function_call": "this server calls no functions",
    "audio": "sound is not read",
    "annotations": "annotations are not read",
}
