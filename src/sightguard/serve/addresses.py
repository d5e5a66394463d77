"""Which addresses of pictures may be asked for: an allow-list of hosts, and a strict reading of the address.

    "example.org"        this host, at the usual port of http or https
    "*.example.org"      every host below it, not itself
    "example.org:8080"   this host, at this port alone

An address that two programs could read in two ways (credentials, a backslash, an octal host …) is refused, not read.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self
from urllib.parse import SplitResult, urlsplit

from sightguard.errors import PictureError, UsageError

Scheme = Literal["http", "https"]
PORTS: dict[Scheme, int] = {"http": 80, "https": 443}
LONGEST = 8192
"""Characters of an address; a longer one is no address of a picture."""
_PLAIN = re.compile(r"[!-\[\]-~]+")
"""Printable ASCII without spaces and backslashes: what stands in every well-formed address, and nothing that is stripped or changed."""
_PLACE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True, slots=True)
class Address:
    """One address, taken apart."""

    scheme: Scheme
    host: str
    """Lower case, without a last dot; an IPv6 literal without brackets."""
    port: int
    target: str
    """Path and query, as they are asked for."""

    @property
    def authority(self) -> str:
        """What stands in the request's `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


def parse(url: str) -> Address:
    """Take an address apart.

    Raises:
        PictureError: it is no plain http or https address. The message names the host alone, and only where it could be read.
    """
    if len(url) > LONGEST or not _PLAIN.fullmatch(url):
        raise PictureError(
            f"the picture's address cannot be read: expected at most {LONGEST} printable ASCII characters without spaces and "
            "backslashes. Write others as %XX, and a host name as punycode."
        )
    try:
        split = urlsplit(url)
    except ValueError:
        raise PictureError("the picture's address cannot be read: its brackets do not fit.") from None
    if split.scheme not in PORTS:
        raise PictureError(
            "the picture's address must begin with https:// or http://; or send the picture as a data URI."
        )
    if "@" in split.netloc:
        raise PictureError("the picture's address holds a user name or password; these are never sent. Take them out.")
    place = _place(split.netloc)
    if place is None:
        raise PictureError(
            "the picture's address has no plain host: expected a name of letters, digits, dots and hyphens, and at most a port."
        )
    host, port = place
    return Address(split.scheme, host, PORTS[split.scheme] if port is None else port, _target(split))


def _target(split: SplitResult) -> str:
    return (split.path or "/") + (f"?{split.query}" if split.query else "")


def _place(text: str) -> tuple[str, int | None] | None:
    """Host and port, the host in the one spelling that is compared; None where they are not plain."""
    match = _PLACE.fullmatch(text)
    if match is None:
        return None
    host = _literal(match[1], ipaddress.IPv6Address) if match[1] else _name(match[2])
    port = None if match[3] is None else int(match[3])
    return None if host is None or (port is not None and not 0 < port < 65536) else (host, port)


def _name(text: str) -> str | None:
    host = text.lower().removesuffix(".")
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return None
    # resolvers read 2130706433, 0x7f.1 and 0177.0.0.1 as addresses too
    return _literal(host, ipaddress.IPv4Address) if _NUMBER.fullmatch(labels[-1]) else host


def _literal(text: str, kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address]) -> str | None:
    try:
        return str(kind(text))
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class _Entry:
    host: str
    below: bool
    port: int | None

    def opens(self, address: Address) -> bool:
        if address.port != (PORTS[address.scheme] if self.port is None else self.port):
            return False
        return address.host.endswith(f".{self.host}") if self.below else address.host == self.host


@dataclass(frozen=True, slots=True)
class AllowList:
    """The hosts that pictures may be fetched from. See the module for the forms."""

    entries: tuple[_Entry, ...]

    @classmethod
    def of(cls, hosts: Iterable[str]) -> Self:
        """Read a list of hosts.

        Raises:
            UsageError: an entry that is none of the forms.
        """
        return cls(tuple(_entry(host) for host in hosts))

    def check(self, address: Address) -> None:
        """Raise PictureError where no entry opens `address`."""
        if not any(entry.opens(address) for entry in self.entries):
            raise PictureError(
                f"pictures are not fetched from {address.host!r} at this port: it is not on this server's list of hosts. "
                "Send the picture as a data URI."
            )


def _entry(text: str) -> _Entry:
    below = text.startswith("*.")
    place = _place(text.removeprefix("*."))
    if place is None or (below and not _holds_hosts(place[0])):
        raise UsageError(
            f"cannot read {text!r} as a host that pictures may be fetched from. Expected 'example.org', 'example.org:8080' or "
            "'*.example.org', without a scheme or a path; '*' alone would be no list."
        )
    return _Entry(place[0], below, place[1])


def _holds_hosts(domain: str) -> bool:
    """Whether a domain is one that somebody owns: neither a top-level domain nor an address."""
    return "." in domain and not _NUMBER.fullmatch(domain.rsplit(".", 1)[-1])
