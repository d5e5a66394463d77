"""Loaded pictures to upright RGB, a few rows at a time where more than a copy is made: a large picture is never held three times."""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import PIL.Image

BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, KeyError, struct.error, zlib.error)
"""What Pillow's decoders raise on damaged files."""
STRIP = 2**18
"""Pixels that are changed at once."""
_TURNED = frozenset(range(2, 9))
"""Orientations of EXIF for which there is something to do."""


def upright(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Return the picture as it is to be looked at; the same object where it stands already."""
    from PIL import ExifTags, ImageOps

    with contextlib.suppress(*BROKEN):  # damaged metadata says nothing about the pixels
        if picture.getexif().get(ExifTags.Base.Orientation, 1) in _TURNED:
            return ImageOps.exif_transpose(picture)
    return picture


def flatten(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Return the picture as RGB without metadata, transparent parts on white, deep greys scaled to 8 bits."""
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        flat = _eight_bits(picture)
    elif picture.has_transparency_data:
        flat = _by_strips(picture, _on_white)
    else:
        flat = picture.convert("RGB")
    flat.info = {}  # the texts of a PNG unfold to megabytes
    return flat


def _strips(picture: PIL.Image.Image) -> Iterator[tuple[int, PIL.Image.Image]]:
    width, height = picture.size
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        yield top, picture.crop((0, top, width, min(top + rows, height)))


def _by_strips(picture: PIL.Image.Image, change: Callable[[PIL.Image.Image], PIL.Image.Image]) -> PIL.Image.Image:
    import PIL.Image

    flat = PIL.Image.new("RGB", picture.size)
    for top, strip in _strips(picture):
        flat.paste(change(strip), (0, top))
    return flat


def _on_white(picture: PIL.Image.Image) -> PIL.Image.Image:
    import PIL.Image

    layer = picture.convert("RGBA")
    white = PIL.Image.new("RGBA", layer.size, (255, 255, 255, 255))
    return PIL.Image.alpha_composite(white, layer).convert("RGB")


def _eight_bits(picture: PIL.Image.Image) -> PIL.Image.Image:
    import numpy as np
    import PIL.Image

    def values(strip: PIL.Image.Image) -> Any:
        return np.asarray(strip, dtype=np.float64)

    highest = float(np.max([values(strip).max(initial=0.0) for _, strip in _strips(picture)]))
    # a plain convert() clips deep greys to white; the depth is not kept by Pillow, so it is read off the values
    full = next((scale for scale in (1.0, 255.0, 65535.0) if highest <= scale), highest)
    if picture.mode != "F":
        full = max(full, 65535.0)

    def grey(strip: PIL.Image.Image) -> PIL.Image.Image:
        scaled = np.clip(np.rint(values(strip) / full * 255), 0, 255).astype(np.uint8)
        return PIL.Image.fromarray(scaled).convert("RGB")

    return _by_strips(picture, grey)
