"""Only this computer: by which names it may be asked for, and who may ask for an answer without the guard.

A page of another site can make its name lead to 127.0.0.1 (DNS rebinding) and then ask a server there as if it were its own; the browser still
sends that site's name in `Host`, by which it is told apart.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from ipaddress import ip_address
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from sightguard.serve.wire.errors import WireError, shown

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from sightguard.serve.service import Service

NAMES = ("localhost", "127.0.0.1", "[::1]")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]/@\s]+)(?::[0-9]{1,5})?", re.IGNORECASE)
_PASSED_ON = re.compile(r"forwarded|via|x-forwarded-.*|x-real-ip|true-client-ip|cf-.*")
SECRET = "x-sightguard-compare"
"""The header in which a request for an answer without the guard has the secret of this start."""


def is_loopback(host: str) -> bool:
    """Whether an address, or the name localhost, is of this computer alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def name_of(hosts: Iterable[str]) -> str | None:
    """Return the name in the `Host` headers of a request, without its port; None unless there is exactly one, well formed.

    Example:
        >>> name_of(["LOCALHOST:8000"])
        'localhost'
        >>> name_of(["[::1]:8000"])
        '[::1]'
    """
    match [_HOST.fullmatch(host) for host in hosts]:
        case [re.Match() as found]:
            return str(found[1]).lower()
        case _:
            return None


class KnownHost:
    """Middleware of a server on loopback: requests that ask for another host are refused, with 421, before any route sees them.

    Args:
        app: what it stands before.
        service: where they are counted and logged.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service
        host = service.settings.host.lower()
        self._names = {*NAMES, f"[{host}]" if ":" in host else host}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if name_of(hosts) in self._names:
            return await self._app(scope, receive, send)
        error = WireError(
            421,
            f"this server listens on loopback, and answers to {', '.join(sorted(self._names))} alone; the request is for "
            f"{shown(', '.join(hosts))}. Ask it by one of these names; a proxy in front of it must send one of them as Host.",
            code="foreign_host",
        )
        record = self._service.open(scope["path"])
        record.ended("rejected", error.status, trouble="foreign_host")
        try:
            await self._service.close(record)
        except WireError as unlogged:
            error = unlogged
        return await JSONResponse(error.body(), error.status, headers=error.headers)(scope, receive, send)


def check_local(request: Request) -> None:
    """Let only somebody at this computer pass, who asks directly, or by a page of this very server.

    Raises:
        WireError: 403; the message says which of it does not hold.
    """
    headers = request.headers
    client = request.client.host if request.client is not None else ""
    if not is_loopback(client):
        raise _closed("it comes from another computer")
    if passed := next((name for name in headers if _PASSED_ON.fullmatch(name)), None):
        # behind a proxy on this computer everybody has a loopback address
        raise _closed(f"it has the header {shown(passed)}, so somebody passed it on")
    if name_of(headers.getlist("host")) not in NAMES:
        raise _closed("its Host is no name of loopback")
    if not _from_here(headers, request.url.scheme):
        raise _closed("it comes from a page of another origin")


def check_secret(request: Request, secret: str) -> None:
    """Let only somebody pass who has read what the server printed when it started.

    A proxy on this computer that adds no header looks as if somebody here asked; whom it lets in does not know the secret.

    Raises:
        WireError: 403.
    """
    told = request.headers.getlist(SECRET)
    if len(told) != 1 or not secrets.compare_digest(told[0].encode(), secret.encode()):
        raise WireError(
            403,
            "answers without the guard are given to who knows the secret of this start. Open the playground by the address that the "
            "server printed on its terminal when it started; it ends in '#compare=' and the secret.",
            code="compare_secret",
        )


def _from_here(headers: Headers, scheme: str) -> bool:
    """Programs other than browsers send none of these headers."""
    here = f"{scheme}://{headers['host']}".lower()
    origins, sites = headers.getlist("origin"), headers.getlist("sec-fetch-site")
    return all(origin.lower() == here for origin in origins) and set(sites) <= {"same-origin", "none"}


def _closed(why: str) -> WireError:
    return WireError(
        403, f"answers without the guard are given on this computer alone; of this request, {why}.", code="local_only"
    )
