"""A blank picture: the smallest thing that opens the safety gap."""

from __future__ import annotations

import io

from sightguard.types import Image


def blank(width: int = 336, height: int = 336, colour: tuple[int, int, int] = (255, 255, 255)) -> Image:
    """Return a one-coloured PNG."""
    import PIL.Image

    data = io.BytesIO()
    PIL.Image.new("RGB", (width, height), colour).save(data, "PNG")
    return Image(data=data.getvalue())
