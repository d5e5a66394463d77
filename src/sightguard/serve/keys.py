"""API keys: who may ask. Where none are set everybody who reaches the port may.

    keys = Keys.read(Path("keys.txt"))                 # or from SIGHTGUARD_API_KEYS
    number = keys.which(request.headers.get("authorization"))
    if number is None: 401 with keys.refusal()

Only digests are held, so no key can show up in a trace, a log or an error.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from sightguard.errors import UsageError

VARIABLE = "SIGHTGUARD_API_KEYS"
HEADERS = {"WWW-Authenticate": "Bearer"}
"""Sent with status 401."""
_KEY = re.compile(r"[!-~]+")
_BEARER = re.compile(r"bearer +([!-~]+) *", re.IGNORECASE)
_ADVICE = 'A good one: python -c "import secrets; print(secrets.token_urlsafe(32))"'


@dataclass(frozen=True, slots=True)
class Keys:
    """Any of some keys."""

    digests: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def of(cls, keys: Iterable[str], where: str = "the API keys") -> Self:
        """Take keys in; they are not kept.

        Raises:
            UsageError: one that no header could carry, or none at all. The message holds no key.
        """
        known = tuple(keys)
        for number, key in enumerate(known, start=1):
            if not _KEY.fullmatch(key):
                raise UsageError(f"{where}: key {number} must be printable ASCII without spaces. {_ADVICE}")
        if not known:
            raise UsageError(f"{where}: there is no key. Take the setting away to ask for none. {_ADVICE}")
        return cls(tuple(_digest(key) for key in known))

    @classmethod
    def read(cls, path: Path | None = None, environment: Mapping[str, str] = os.environ) -> Self | None:
        """Read the keys of a file (one a line; empty lines and those that begin with # are left out) and of the environment variable
        SIGHTGUARD_API_KEYS (separated by commas or spaces); None where neither is set.

        Raises:
            UsageError: it cannot be read, or is set and holds no key: a server that was to ask for keys does not start without.
        """
        keys = [] if path is None else _in_file(path)
        told = environment.get(VARIABLE)
        if told is not None:
            keys += _in_variable(told)
        return cls.of(keys) if keys else None

    def which(self, authorization: str | None) -> int | None:
        """Return the number of the key in a header `Authorization: Bearer KEY`, counted from 1, or None where none fits.

        All keys are compared, each in constant time, so that the time tells nothing about them.
        """
        match = _BEARER.fullmatch(authorization or "")
        asked = _digest(match[1] if match else "")
        number = 0
        for place, digest in enumerate(self.digests, start=1):
            number = max(number, place * hmac.compare_digest(asked, digest))
        return number or None

    @staticmethod
    def refusal() -> dict[str, Any]:
        """Return the body of the answer, status 401, in OpenAI's shape."""
        return {
            "error": {
                "message": "Missing or wrong API key. Send it as the header 'Authorization: Bearer KEY'.",
                "type": "invalid_request_error",
                "param": None,
                "code": "invalid_api_key",
            }
        }


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _in_variable(text: str) -> list[str]:
    keys = [key for key in re.split(r"[,\s]+", text) if key]
    if not keys:
        raise UsageError(f"{VARIABLE} is set and holds no key. Take it away to ask for none. {_ADVICE}")
    return keys


def _in_file(path: Path) -> list[str]:
    try:
        mode = path.stat().st_mode
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise UsageError(f"cannot read the API keys in {path}: {error.strerror}. Check the path.") from None
    except UnicodeDecodeError:
        raise UsageError(f"cannot read the API keys in {path}: expected ASCII, one key a line.") from None
    keys = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    if not keys:
        raise UsageError(f"{path} holds no API key; expected one a line. {_ADVICE}")
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        warnings.warn(f"the API keys in {path} are open to every user of this computer: chmod 600 {path}", stacklevel=3)
    return keys
