"""Pictures from strangers: bytes or a path in, an upright RGB picture out, or a `PictureError` that says why not."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import TYPE_CHECKING, NamedTuple

from sightguard.data.flatten import BROKEN, flatten, upright
from sightguard.errors import PictureError

if TYPE_CHECKING:
    import PIL.Image

    from sightguard.types import Image

MAX_PIXELS = 64_000_000

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "TGA", "AVIF")
"""Raster formats only (JPEG includes the two-picture files of phones). Pillow hands EPS to an external program, which
no untrusted file may ask for, and decodes icons (ICO, ICNS) before their size can be asked for."""

POINTER = b"version https://git-lfs"
"""How a git-LFS pointer begins: a small text that stands where the data should be."""

ORIENTATION = 0x0112
SIDEWAYS = (5, 6, 7, 8)
"""Orientations of EXIF in which width and height change places."""


_TILE = (322, 323)
"""The tags of a TIFF that say how wide and high its tiles are."""


class Measure(NamedTuple):
    """What a header says of a picture."""

    width: int
    height: int
    pixels: int
    """That decoding unfolds: width times height, or those of one tile where a tile is larger than the picture."""


def measure(image: Image, *, max_pixels: int = MAX_PIXELS) -> Measure:
    """Return how large a picture is; nothing is decoded, so the rest of it may be damaged.

    Raises:
        PictureError: as for `decode`.
    """
    where = _describe(image)
    with _open(_read(image, where), where) as picture:
        return _measured(picture, where, max_pixels)


def decode(image: Image, *, max_pixels: int = MAX_PIXELS) -> PIL.Image.Image:
    """Return the picture as RGB: upright, first frame, transparent parts on white.

    Args:
        image: encoded bytes or a path.
        max_pixels: width times height above which nothing is decoded (a small file can unfold to gigabytes).

    Raises:
        PictureError: the picture is missing, a folder, empty, truncated, too large, or not a picture.
    """
    where = _describe(image)
    picture = _open(_read(image, where), where)
    _measured(picture, where, max_pixels)
    kind = picture.format
    try:
        picture.load()
        picture = upright(picture)  # the one that lay is freed before the next copy is made
        return flatten(picture)
    except BROKEN as error:
        raise PictureError(
            f"{where} is truncated or damaged: expected a complete {kind} picture, but {_reason(error)}. "
            "Fetch the file again."
        ) from error


def upright_size(image: Image, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return width and height of what `decode` returns, from the head of the file alone.

    Raises:
        PictureError: as `decode`, but for what is wrong behind the head.
    """
    where = _describe(image)
    picture = _open(_read(image, where), where)
    _measured(picture, where, max_pixels)
    width, height = picture.size
    with contextlib.suppress(*BROKEN):
        if picture.getexif().get(ORIENTATION) in SIDEWAYS:
            return height, width
    return width, height


def _describe(image: Image) -> str:
    return f"the picture {str(image.path)!r}" if image.path is not None else "the picture given as bytes"


def _read(image: Image, where: str) -> bytes:
    try:
        encoded = image.read()
    except FileNotFoundError:
        raise PictureError(f"{where} does not exist. Check the path.") from None
    except IsADirectoryError:
        raise PictureError(f"{where} is a folder; expected one picture file. Name a file inside it.") from None
    except OSError as error:
        raise PictureError(f"{where} cannot be read: {error.strerror or error}. Check its permissions.") from error
    if not encoded:
        raise PictureError(f"{where} is empty: expected an encoded picture, got 0 bytes.")
    if encoded.startswith(POINTER):
        raise PictureError(
            f"{where} is a git-LFS pointer, not a picture: the data were not downloaded. Fetch them with `git lfs pull` or `hf download`."
        )
    return encoded


def _open(encoded: bytes, where: str) -> PIL.Image.Image:
    import PIL.Image

    bomb = (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)  # the limit here is lower and raises
            return PIL.Image.open(io.BytesIO(encoded), formats=FORMATS)
    except bomb as error:
        raise PictureError(f"{where} is too large to decode: {error}") from None
    except PIL.UnidentifiedImageError:
        raise PictureError(
            f"{where} is not a picture in a known format ({len(encoded)} bytes). Known: {', '.join(FORMATS)}."
        ) from None
    except BROKEN as error:
        raise PictureError(f"{where} is not a readable picture: {_reason(error)}. Fetch the file again.") from error


def _measured(picture: PIL.Image.Image, where: str, max_pixels: int) -> Measure:
    width, height = picture.size
    if width < 1 or height < 1:
        raise PictureError(f"{where} has no pixels: {width} x {height}.")
    unfolds = max((picture.size, _tile(picture)), key=lambda size: size[0] * size[1])
    pixels = unfolds[0] * unfolds[1]
    if pixels > max_pixels:
        raise PictureError(
            f"{where} is too large to decode: {unfolds[0]} x {unfolds[1]} = {pixels:,} pixels, at most {max_pixels:,}. "
            "Scale it down."
        )
    return Measure(width, height, pixels)


def _tile(picture: PIL.Image.Image) -> tuple[int, int]:
    """Return the size of the tiles of a TIFF, each of which is unfolded whole; 0 where there are none."""
    tags = getattr(picture, "tag_v2", None) or {}
    wide, high = (tags.get(tag, 0) for tag in _TILE)
    return (wide, high) if isinstance(wide, int) and isinstance(high, int) else (0, 0)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
