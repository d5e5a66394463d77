"""A connection to a host on the public internet, and to nothing else, within a fixed time.

The name is looked up once, every address of the answer must be public, and the connection goes to an address that was checked: a name
server that answers otherwise the second time (DNS rebinding) is never asked a second time.
"""

from __future__ import annotations

import io
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ssl import SSLContext
from typing import TYPE_CHECKING, BinaryIO, cast

from sightguard.errors import PictureError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

IP = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str], Sequence[str]]
"""A host name -> its addresses, as text."""

_NOT_PUBLIC = tuple(
    ipaddress.ip_network(block)
    for block in (
        "192.0.0.0/24",  # protocol assignments; a cloud's metadata answers at 192.0.0.192
        "192.88.99.0/24",  # 6to4 relays
        "168.63.129.16/32",  # a public number, and inside that cloud its host's own service
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarking
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address inside
        "3fff::/20",  # documentation
    )
)
_UNICAST = ipaddress.ip_network("2000::/3")
"""All of IPv6 that is handed out to the public; IPv4-mapped, NAT64, unique local, link-local and multicast lie outside."""


def is_public(address: IP) -> bool:
    """Say whether an address is one of the public internet, whatever this version of Python thinks of it."""
    if address.version == 6 and address not in _UNICAST:
        return False
    if address.is_multicast or not address.is_global:
        return False
    return not any(address in block for block in _NOT_PUBLIC if block.version == address.version)


def look_up(host: str) -> list[str]:
    """Return the addresses of a host, in the system's order."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment of `time.monotonic`."""

    at: float

    def left(self) -> float:
        """Return the seconds that are left; raises TimeoutError where there are none."""
        seconds = self.at - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        return seconds


class Timed(io.RawIOBase):
    """A connected socket whose every read ends at the deadline, however slowly the bytes drip in."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        super().__init__()
        self._sock, self._deadline = sock, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        self._sock.settimeout(self._deadline.left())
        return self._sock.recv_into(buffer)

    def makefile(self, mode: str) -> BinaryIO:
        """Return what http.client reads from."""
        assert mode == "rb"
        return cast(BinaryIO, io.BufferedReader(self))

    def send(self, data: bytes) -> None:
        self._sock.settimeout(self._deadline.left())
        self._sock.sendall(data)

    def close(self) -> None:
        super().close()
        self._sock.close()


def checked(host: str, resolve: Resolve, public: Callable[[IP], bool], deadline: Deadline) -> list[IP]:
    """Look a host up once and return its addresses.

    Raises:
        PictureError: one of them is not public. The message does not say which: it would tell what lies inside.
        OSError: it has none, or not in time.
    """
    addresses = [ipaddress.ip_address(text) for text in _in_time(lambda: resolve(host), deadline)]
    if not addresses:
        raise OSError
    if not all(public(address) for address in addresses):
        raise PictureError(f"pictures are not fetched from {host!r}: its name leads to an address that is not public.")
    return addresses


def connect(addresses: Sequence[IP], port: int, name: str, tls: SSLContext | None, deadline: Deadline) -> Timed:
    """Connect to the first address that answers; a certificate must be for `name`.

    Raises:
        OSError: none answers in time, or the certificate is not good.
    """
    failure: OSError = OSError()
    for number, address in enumerate(addresses):
        share = deadline.left() / (len(addresses) - number)  # a dead address must leave time for the next one
        sock = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
        try:
            sock.settimeout(share)
            sock.connect((str(address), port))
            sock.settimeout(deadline.left())
            return Timed(tls.wrap_socket(sock, server_hostname=name) if tls is not None else sock, deadline)
        except OSError as error:
            sock.close()
            failure = error
    raise failure


def _in_time(call: Callable[[], Sequence[str]], deadline: Deadline) -> Sequence[str]:
    # getaddrinfo takes no time limit; a thread that is left behind ends when the system's resolver gives up
    answer: list[Sequence[str]] = []
    errors: list[OSError] = []

    def run() -> None:
        try:
            answer.append(call())
        except OSError as error:
            errors.append(error)
        except UnicodeError:  # the system's resolver refuses some names so
            errors.append(OSError())

    thread = threading.Thread(target=run, daemon=True, name="look up a host")
    thread.start()
    thread.join(deadline.left())
    if errors:
        raise errors[0]
    if not answer:
        raise TimeoutError
    return answer[0]
