"""Pictures in requests: whole, small enough each and together, one frame, and from where the operator allows; anything else is an error."""

from __future__ import annotations

import binascii
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sightguard.data.pictures import FORMATS, Measure, decode, measure
from sightguard.errors import PictureError, SightguardError
from sightguard.serve.room import Room
from sightguard.serve.settings import Settings
from sightguard.serve.waiting import heed
from sightguard.serve.wire.errors import WireError
from sightguard.types import Image

Fetch = Callable[[str], bytes]
"""From an address to the bytes that lie there; raises where it may not be asked."""
_HEAD = re.compile(r"data:image/[a-z0-9][a-z0-9.+-]{0,63};base64", re.IGNORECASE)
_LONGEST_HEAD = 100


MOST_OBLONG = 100
"""Times the shorter side: processors scale that one to what the model reads, so a line of pixels would unfold to gigabytes."""
READ = 2**18
"""Pixels that a processor makes of a small square picture, at the most; of others as many times more as they are oblong."""

TEXTS = 2**21
"""Bytes of texts that the PNGs of a server may unfold, each; Pillow allows 64 times a MiB, of a file that is a thousandth of that."""


def keep_texts_short() -> None:
    """Let Pillow refuse PNGs of more than `TEXTS`, in this whole process."""
    from PIL import PngImagePlugin

    PngImagePlugin.MAX_TEXT_MEMORY = TEXTS


class Pictures:
    """The pictures of one request: all headers are read before anything is decoded, so that what is too much together costs nothing.

    Args:
        settings: limits on bytes and pixels.
        fetch: gets a picture by its address; None: no address is allowed.
        room: for what is decoded at the same time by all requests; None: for this one alone.
    """

    def __init__(self, settings: Settings, fetch: Fetch | None = None, room: Room | None = None) -> None:
        self._settings, self._fetch, self._room = settings, fetch, room or Room(settings.max_pixels)
        self._taken: list[_Taken] = []

    @property
    def pixels(self) -> int:
        """Of all pictures together, as they count (see `weight`)."""
        return sum(taken.pixels for taken in self._taken)

    def take(self, url: str, param: str) -> Image:
        """Return the picture that a data URI holds, or that lies at an address, its header read.

        Args:
            url: data URI, or address of http or https.
            param: the field that it stood in, for errors.

        Raises:
            WireError: 400, `image_url_not_allowed` where no address is allowed and for other kinds of data; `invalid_image_url` where
                nothing good came from an address; `invalid_image` for what is no picture, or too large. 499 or 504: nobody waits for it any more.
        """
        heed()
        most = self._settings.max_image_bytes
        data = url[:5].lower() == "data:"
        encoded = _from_data(url, most, param) if data else _from_address(url, self._fetch, param)
        _check_bytes(len(encoded), most, param)
        self._check_together(len(encoded), param)
        image = Image(data=encoded)
        with _refusing(param):
            found = measure(image, max_pixels=self._settings.max_pixels)
        if max(found[:2]) > MOST_OBLONG * min(found[:2]):
            raise _invalid(
                param,
                f"the picture is {found.width} x {found.height}; expected no side longer than {MOST_OBLONG} times the other. Cut it",
            )
        self._taken.append(_Taken(image, encoded, weight(found), param))
        return image

    def check(self, param: str) -> None:
        """Decode each once, so that what cannot be decoded never waits for the model; that is work for a thread.

        Args:
            param: the field that holds all of them, for errors.

        Raises:
            WireError: 400, `too_many_pixels` for all together; `invalid_image` for one that is damaged, or holds frames that nobody would see.
                499 or 504: nobody waits for them any more.
        """
        if self.pixels > (most := self._settings.max_request_pixels):
            raise WireError(
                400,
                f"{param}: expected pictures of at most {most:,} pixels together; got {self.pixels:,}. Scale them down, or send fewer.",
                param=param,
                code="too_many_pixels",
            )
        for taken in self._taken:
            with self._room.take(taken.pixels):
                heed()
                _check(taken, self._settings.max_pixels)

    def _check_together(self, more: int, param: str) -> None:
        """By address a request could bring more bytes than its body may have."""
        if sum(len(taken.encoded) for taken in self._taken) + more > (most := self._settings.max_body):
            raise _invalid(
                param, f"the pictures up to this one have more than {most:,} bytes together. Scale them down"
            )


@dataclass(frozen=True, slots=True)
class _Taken:
    image: Image
    encoded: bytes
    pixels: int
    param: str


def weight(found: Measure) -> int:
    """Return as how many pixels a picture counts: its own, or those that a processor makes of a small one that is oblong."""
    return max(found.pixels, READ * max(found[:2]) // min(found[:2]))


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


def _check(taken: _Taken, max_pixels: int) -> None:
    with _refusing(taken.param):
        decode(taken.image, max_pixels=max_pixels)
        moves = _moves(taken.encoded)
    if moves:
        raise _invalid(
            taken.param,
            "the picture has several frames or pages, and only the first would be looked at. Send those that matter",
        )


@contextmanager
def _refusing(param: str) -> Iterator[None]:
    try:
        yield
    except PictureError as error:
        raise _invalid(param, str(error).rstrip(".")) from None
    except Exception as error:  # whatever a decoder raises on a stranger's bytes says that they are no picture
        raise _invalid(param, f"the picture cannot be decoded ({type(error).__name__}). Save it again") from error


def _moves(encoded: bytes) -> bool:
    """Whether there are frames behind the first; the second picture of a phone's JPEG is no frame and is never read."""
    import PIL.Image

    with PIL.Image.open(io.BytesIO(encoded), formats=FORMATS) as opened:
        return opened.format != "MPO" and bool(getattr(opened, "is_animated", False))


def _invalid(param: str, message: str) -> WireError:
    return WireError(400, f"{param}: {message}.", param=param, code="invalid_image")


def _closed(param: str, message: str) -> WireError:
    return WireError(400, f"{param}: {message}.", param=param, code="image_url_not_allowed")
