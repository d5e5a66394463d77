"""A picture by its address, for servers that were started with a list of hosts: `--allow-image-urls HOST...`.

    fetch = Fetcher.of(["images.example.org"], max_bytes=20 * MIB)
    encoded = fetch("https://images.example.org/cat.jpg")

A request can make this server ask other hosts, so everything is checked before a byte is sent: the address (`serve.addresses`) and where
its name leads (`serve.reach`); and again at each redirect. Proxies of the environment are not used, cookies and credentials never sent.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from socket import socket
from typing import Any, NamedTuple, Self, cast
from urllib.parse import urljoin

from sightguard.errors import PictureError, UsageError
from sightguard.serve.addresses import Address, AllowList, parse
from sightguard.serve.reach import IP, Deadline, Resolve, checked, connect, is_public, look_up
from sightguard.serve.waiting import ends

SECONDS = 10.0
REDIRECTS = 3
_MOVED = frozenset({301, 302, 303, 307, 308})
_PIECE = 65536
_UNNAMED = frozenset({"application/octet-stream", "binary/octet-stream"})
"""How stores serve a file whose type nobody told them; the picture's decoder decides."""


class _Moved(NamedTuple):
    location: str


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Fetches pictures, from several threads at once.

    Args:
        allowed: the hosts.
        max_bytes: of one picture, as it is sent.
        seconds: for one picture: names, connections, redirects and all of its bytes together; less where its request has less left.
        resolve, public, tls: how names are looked up, which addresses are public, and which certificates are trusted. Other than the
            defaults only in tests.
    """

    allowed: AllowList
    max_bytes: int
    seconds: float = SECONDS
    resolve: Resolve = field(default=look_up, repr=False)
    public: Callable[[IP], bool] = field(default=is_public, repr=False)
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context, repr=False)

    @classmethod
    def of(cls, hosts: Iterable[str], *, max_bytes: int, seconds: float = SECONDS, **test: Any) -> Self:
        """Build a fetcher for a list of hosts.

        Raises:
            UsageError: an entry of the list, or a limit, that cannot be meant.
        """
        if max_bytes < 1 or not seconds > 0:
            raise UsageError(f"max_bytes must be at least 1 and seconds above 0; got {max_bytes} and {seconds}")
        return cls(AllowList.of(hosts), max_bytes, seconds, **test)

    def __call__(self, url: str) -> bytes:
        """Return the bytes of the picture at `url`, as they came: they are not decoded, and may be no picture after all.

        Raises:
            PictureError: the address is refused, or nothing good came back in time. The message names the host and nothing else of the
                address, and nothing of what answered there.
        """
        deadline = Deadline(min(time.monotonic() + self.seconds, ends()))
        address = parse(url)
        for _ in range(REDIRECTS + 1):
            self.allowed.check(address)
            answer = self._ask(address, deadline)
            if isinstance(answer, bytes):
                return answer
            address = _next(address, answer.location)
        raise PictureError(f"the picture at {address.host!r} is redirected more than {REDIRECTS} times.")

    def _ask(self, address: Address, deadline: Deadline) -> bytes | _Moved:
        try:
            addresses = checked(address.host, self.resolve, self.public, deadline)
            tls = self.tls if address.scheme == "https" else None
            with connect(addresses, address.port, address.host, tls, deadline) as timed:
                timed.send(_request(address))
                # all that a response does with its socket is to read from it
                with HTTPResponse(cast(socket, timed), method="GET") as response:
                    response.begin()
                    return self._read(response, address.host)
        except PictureError:
            raise
        except TimeoutError:
            raise PictureError(f"the picture at {address.host!r} was not there within {self.seconds:g} s.") from None
        except ssl.SSLCertVerificationError:
            raise PictureError(f"the certificate of {address.host!r} is not good for that name.") from None
        except (OSError, HTTPException):
            # the reason would tell a client which ports are open inside
            raise PictureError(f"the picture at {address.host!r} could not be fetched.") from None

    def _read(self, response: HTTPResponse, host: str) -> bytes | _Moved:
        if response.status in _MOVED:
            return _Moved(response.headers.get("Location", ""))
        if response.status != 200:
            raise PictureError(f"{host!r} has no picture at that address: status {response.status}.")
        _check_headers(response, host)
        declared = response.length
        if declared is not None and declared > self.max_bytes:
            raise self._too_large(host)
        data = bytearray()
        while piece := response.read(min(_PIECE, self.max_bytes + 1 - len(data))):
            data += piece
            if len(data) > self.max_bytes:
                raise self._too_large(host)
        if declared is not None and len(data) != declared:
            raise PictureError(f"the picture at {host!r} was cut short: {len(data):,} of {declared:,} bytes came.")
        return bytes(data)

    def _too_large(self, host: str) -> PictureError:
        return PictureError(f"the picture at {host!r} is larger than {self.max_bytes:,} bytes. Scale it down.")


def _next(address: Address, location: str) -> Address:
    if not location:
        raise PictureError(f"{address.host!r} redirects to nowhere.")
    base = f"{address.scheme}://{address.authority}{address.target}"
    try:
        found = parse(urljoin(base, location))
    except ValueError:
        raise PictureError(f"{address.host!r} redirects to an address that is refused.") from None
    if address.scheme == "https" and found.scheme != "https":
        raise PictureError(f"{address.host!r} redirects from https to http, which is not followed.")
    return found


def _request(address: Address) -> bytes:
    lines = (
        f"GET {address.target} HTTP/1.1",
        f"Host: {address.authority}",
        "Accept: image/*",
        "Accept-Encoding: identity",
        "User-Agent: sightguard",
        "Connection: close",
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("ascii")


def _check_headers(response: HTTPResponse, host: str) -> None:
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        # a small compressed body can unfold to any size
        raise PictureError(f"{host!r} sends the picture compressed, although it was asked not to.")
    kind = response.headers.get_content_type() if "Content-Type" in response.headers else "none"
    if kind == "image/svg+xml" or not (kind.startswith("image/") or kind in _UNNAMED):
        raise PictureError(
            f"{host!r} answered with something that is no picture: expected the content type image/*, without SVG."
        )
