import io
import struct
import warnings
import zlib
from pathlib import Path

import PIL.Image
import pytest

from sightguard.data.pictures import decode
from sightguard.errors import DataError, PictureError
from sightguard.types import Image

SUFFIXES = {".png", ".jpg", ".webp", ".gif", ".bmp", ".tif", ".tga", ".pgm", ".avif"}


def encoded(picture: PIL.Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, format=kind, **options)
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be enormous."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_pixels_survive() -> None:
    picture = PIL.Image.new("RGB", (3, 2), (10, 20, 30))
    picture.putpixel((2, 1), (200, 100, 50))
    out = decode(Image(data=encoded(picture)))
    assert (out.mode, out.size) == ("RGB", (3, 2))
    assert out.getpixel((2, 1)) == (200, 100, 50)


def test_transparent_parts_become_white() -> None:
    clear = PIL.Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    clear.putpixel((1, 0), (255, 0, 0, 128))
    out = decode(Image(data=encoded(clear)))
    assert out.getpixel((0, 0)) == (255, 255, 255)
    assert out.getpixel((1, 0)) == (255, 127, 127)


def test_transparent_palette_becomes_white() -> None:
    picture = PIL.Image.new("P", (1, 1), 0)
    picture.putpalette([9, 9, 9] * 256)
    assert decode(Image(data=encoded(picture, transparency=0))).getpixel((0, 0)) == (255, 255, 255)


def test_exif_orientation_is_applied() -> None:
    picture = PIL.Image.new("RGB", (20, 10), "black")
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    assert decode(Image(data=encoded(picture, "JPEG", exif=exif))).size == (10, 20)


def test_animation_gives_its_first_frame() -> None:
    frames = [PIL.Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(Image(data=data)).getpixel((0, 0)) == (255, 0, 0)


def test_deep_grey_is_scaled_not_clipped() -> None:
    for values, expected in (((0x8000, 0xFFFF), (128, 255)), ((100, 255), (0, 1))):
        out = decode(Image(data=b"P5 2 1 65535\n" + struct.pack(">HH", *values)))
        assert (out.getpixel((0, 0)), out.getpixel((1, 0))) == ((expected[0],) * 3, (expected[1],) * 3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"hello, I am not a picture", "not a picture in a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n", "not a picture in a known format"),
        (bomb(60_000, 60_000), "too large to decode"),
        (bomb(9_000, 9_000), "9000 x 9000 = 81,000,000 pixels"),
        (bomb(0, 5), "picture"),
    ],
)
def test_bytes_that_are_no_picture_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(PictureError, match=message):
        decode(Image(data=data))


def test_a_truncated_picture_is_refused_at_every_length() -> None:
    noise = PIL.Image.effect_noise((40, 40), 80).convert("RGB")
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"):
        data = encoded(noise, kind)
        for share in (0.1, 0.5, 0.9):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow warns of some of these before it raises
                with pytest.raises(PictureError, match="given as bytes"):
                    decode(Image(data=data[: int(len(data) * share)]))


def test_the_pixel_limit_is_an_argument() -> None:
    data = encoded(PIL.Image.new("RGB", (10, 10)))
    assert decode(Image(data=data), max_pixels=100).size == (10, 10)
    with pytest.raises(PictureError, match="at most 99"):
        decode(Image(data=data), max_pixels=99)


def test_paths_that_hold_no_picture_are_named(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"gone\.png' does not exist"):
        decode(Image(path=tmp_path / "gone.png"))
    with pytest.raises(PictureError, match="is a folder"):
        decode(Image(path=tmp_path))
    (tmp_path / "notes.png").write_text("only words")
    with pytest.raises(PictureError, match=r"notes\.png' is not a picture"):
        decode(Image(path=tmp_path / "notes.png"))
    assert issubclass(PictureError, DataError)
    assert issubclass(PictureError, ValueError)


@pytest.mark.parametrize("folder", ["FigStep", "benign_images"])
def test_real_pictures_decode(data: Path, folder: str) -> None:
    files = [path for path in sorted((data / folder).rglob("*")) if path.suffix in SUFFIXES]
    assert len(files) >= 30
    for path in files:
        if path.name == "truncated.jpg":
            with pytest.raises(PictureError):
                decode(Image(path=path))
        else:
            out = decode(Image(path=path))
            assert out.mode == "RGB"
            low, high = out.convert("L").getextrema()
            assert low != high, path.name
