"""A picture that is too large is refused by its header: no format unfolds before its size is known."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import PIL.Image
import pytest

from sightguard.data.pictures import FORMATS, decode, measure
from sightguard.errors import PictureError
from sightguard.types import Image
from tests.memory import grown

SIDE = 3000
REFUSE = """
from sightguard.data.pictures import decode
from sightguard.errors import PictureError
from sightguard.types import Image
image = Image(data=Path(sys.argv[1]).read_bytes())
def refused(image):
    try:
        decode(image, max_pixels=1_000_000)
    except PictureError as error:
        print(error)
    else:
        raise SystemExit("it was decoded")
refused(Image(data=b"no picture"))  # loads the decoders
begin()
refused(image)
end()
"""


def saved(picture: PIL.Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **({"speed": 10} if kind == "AVIF" else {}))
    return file.getvalue()


def icon(side: int) -> bytes:
    """An icon that holds a PNG, which may be larger than the 256 that its directory can say."""
    png = saved(PIL.Image.new("RGBA", (side, side), "red"), "PNG")
    return struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(png), 22) + png


def tiled(side: int, tile: int) -> bytes:
    """A TIFF of one tile, which may be larger than the picture."""
    body = zlib.compress(bytes(tile * tile))
    told = [
        (256, side),
        (257, side),
        (258, 8),
        (259, 8),
        (262, 1),
        (277, 1),
        (322, tile),
        (323, tile),
        (324, 8),
        (325, len(body)),
    ]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in told)
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + struct.pack("<H", len(told)) + entries + bytes(4)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_header_is_enough_to_refuse_every_format(kind: str, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(saved(PIL.Image.new("RGB" if kind != "GIF" else "P", (SIDE, SIDE), 9), kind))
    assert grown(REFUSE, tmp_path / "large") < SIDE**2  # less than a byte a pixel: decoded it would be four


def test_an_icon_is_no_picture_and_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "icon").write_bytes(icon(SIDE))
    assert grown(REFUSE, tmp_path / "icon") < SIDE**2
    with pytest.raises(PictureError, match="not a picture in a known format"):
        decode(Image(data=icon(16)))


def test_a_tile_counts_as_it_unfolds_whatever_the_picture_says(tmp_path: Path) -> None:
    assert decode(Image(data=tiled(16, 64))).size == (16, 16)
    assert measure(Image(data=tiled(16, 64))).pixels == 64 * 64
    (tmp_path / "tiled").write_bytes(tiled(16, 8000))
    assert grown(REFUSE, tmp_path / "tiled") < 16_000_000
    with pytest.raises(PictureError, match=r"8000 x 8000 = 64,000,000 pixels, at most 63,999,999"):
        decode(Image(data=tiled(16, 8000)), max_pixels=63_999_999)


def test_a_header_tells_the_size() -> None:
    for kind in FORMATS:
        assert measure(Image(data=saved(PIL.Image.new("L", (70, 30)), kind)))[:3] == (70, 30, 2100)
    with pytest.raises(PictureError, match="at most 2,099"):
        measure(Image(data=saved(PIL.Image.new("L", (70, 30)), "PNG")), max_pixels=2099)
