"""Pictures in requests: whole, small enough, one frame, and from where the operator allows; anything else is an error."""

from __future__ import annotations

import binascii
import io
import re
from collections.abc import Callable

from sightguard.data.pictures import FORMATS, decode
from sightguard.errors import PictureError, SightguardError
from sightguard.serve.settings import Settings
from sightguard.serve.wire.errors import WireError
from sightguard.types import Image

Fetch = Callable[[str], bytes]
"""From an address to the bytes that lie there; raises where it may not be asked."""
_HEAD = re.compile(r"data:image/[a-z0-9][a-z0-9.+-]{0,63};base64", re.IGNORECASE)
_LONGEST_HEAD = 100


def picture(url: str, settings: Settings, param: str, fetch: Fetch | None = None) -> Image:
    """Return the picture that a data URI holds, or that lies at an address.

    It is decoded once here, so that what cannot be decoded never waits for the model; that is work for a thread.

    Args:
        url: data URI, or address of http or https.
        settings: limits on bytes and pixels.
        param: the field that it stood in, for errors.
        fetch: gets a picture by its address; None: no address is allowed.

    Raises:
        WireError: 400, `image_url_not_allowed` where no address is allowed and for other kinds of data; `invalid_image_url` where nothing
            good came from an address; `invalid_image` for a picture that is damaged, too large, or holds frames that nobody would see.
    """
    data = url[:5].lower() == "data:"
    encoded = _from_data(url, settings.max_image_bytes, param) if data else _from_address(url, fetch, param)
    _check_bytes(len(encoded), settings.max_image_bytes, param)
    image = Image(data=encoded)
    _check(image, encoded, settings.max_pixels, param)
    return image


def _from_data(url: str, most: int, param: str) -> bytes:
    head, comma, words = url.partition(",")
    if len(head) > _LONGEST_HEAD or not comma or not _HEAD.fullmatch(head):
        raise _closed(param, "expected 'data:image/<format>;base64,<data>'; other data are not read")
    _check_bytes(len(words) * 3 // 4 - 2, most, param)
    try:
        return binascii.a2b_base64(words, strict_mode=True)
    except ValueError as error:
        raise _invalid(param, f"the data URI is no base64 ({error}). Encode the picture again") from None


def _from_address(url: str, fetch: Fetch | None, param: str) -> bytes:
    if fetch is None or not url[:8].lower().startswith(("http://", "https://")):
        raise _closed(param, "this server reads no picture from there. Send a data URI: 'data:image/png;base64,<data>'")
    try:
        return fetch(url)
    except WireError:
        raise
    except SightguardError as error:
        raise WireError(400, f"{param}: {error}", param=param, code="invalid_image_url") from None


def _check_bytes(found: int, most: int, param: str) -> None:
    if found > most:
        raise _invalid(param, f"the picture has more than {most:,} bytes. Scale it down")


def _check(image: Image, encoded: bytes, max_pixels: int, param: str) -> None:
    try:
        decode(image, max_pixels=max_pixels)
        moves = _moves(encoded)
    except PictureError as error:
        raise _invalid(param, str(error).rstrip(".")) from None
    except Exception as error:  # whatever a decoder raises on a stranger's bytes says that they are no picture
        raise _invalid(param, f"the picture cannot be decoded ({type(error).__name__}). Save it again") from error
    if moves:
        raise _invalid(
            param,
            "the picture has several frames or pages, and only the first would be looked at. Send those that matter",
        )


def _moves(encoded: bytes) -> bool:
    """Whether there are frames behind the first; the second picture of a phone's JPEG is no frame and is never read."""
    import PIL.Image

    with PIL.Image.open(io.BytesIO(encoded), formats=FORMATS) as opened:
        return opened.format != "MPO" and bool(getattr(opened, "is_animated", False))


def _invalid(param: str, message: str) -> WireError:
    return WireError(400, f"{param}: {message}.", param=param, code="invalid_image")


def _closed(param: str, message: str) -> WireError:
    return WireError(400, f"{param}: {message}.", param=param, code="image_url_not_allowed")
