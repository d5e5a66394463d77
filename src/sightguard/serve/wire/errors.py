"""Errors as they leave the server, in OpenAI's shape."""

from __future__ import annotations

from typing import Any

from sightguard.errors import SightguardError
from sightguard.serve.job import Failed, Trouble

SHOWN = 64
"""Characters of a client's own words, such as the name of a field, that an error repeats."""
_RETRY: dict[Trouble, str] = {"out_of_memory": "1", "closing": "10"}
"""In how many seconds it may be otherwise."""


class WireError(SightguardError):
    """A request that is answered with an error.

    Args:
        status: of HTTP.
        message: what was expected, what came, and what to do; never the content of a request.
        type: OpenAI's kind of error: "invalid_request_error", "server_error", "timeout_error" …
        param: the field that is meant, as a path ("messages.0.content").
        code: a stable name of the error, for programs.
        headers: of the response.
    """

    def __init__(
        self,
        status: int,
        message: str,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(_encodable(message))
        self.status, self.type, self.code = status, type, code
        self.param = None if param is None else _encodable(param)
        self.headers = headers or {}

    @property
    def message(self) -> str:
        return str(self)

    def body(self) -> dict[str, Any]:
        """Return what the client is sent; in a stream it is the last event."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


def shown(words: object) -> str:
    """Return a client's own words as an error may repeat them: short, printable, in quotes.

    Example:
        >>> shown("top_k\\ud800")
        "'top_k\\\\ud800'"
    """
    text = str(words)
    return ascii(text if len(text) <= SHOWN else f"{text[:SHOWN]}…")


def trouble(failed: Failed) -> WireError | None:
    """Return the error for a job that failed; None for a guard that raised, which is answered as a refusal.

    What the engine says reaches the client only where the client can do something about it.
    """
    if failed.trouble == "guard_error":
        return None
    status, type, code, message = _TROUBLES[failed.trouble]
    headers = {"Retry-After": after} if (after := _RETRY.get(failed.trouble)) else None
    param = "messages" if status == 400 else None
    return WireError(status, message or failed.message, type, param, code, headers)


_TROUBLES: dict[Trouble, tuple[int, str, str | None, str]] = {
    "bad_request": (400, "invalid_request_error", "invalid_value", ""),
    "context_length": (400, "invalid_request_error", "context_length_exceeded", ""),
    "deadline": (504, "timeout_error", "deadline_exceeded", "there was no answer in time. Ask for less, or try again."),
    "out_of_memory": (
        503,
        "server_error",
        "out_of_memory",
        "there was not enough memory for this request. Send fewer or smaller pictures, or try again later.",
    ),
    "closing": (503, "server_error", "closing", "the server is being stopped. Send the request again later."),
    "cancelled": (499, "invalid_request_error", "cancelled", "the client left before there was an answer."),
}


def _encodable(text: str) -> str:
    """Lone surrogates cannot be sent as UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
