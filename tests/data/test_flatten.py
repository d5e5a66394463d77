"""Pictures are flattened a few rows at a time; the values are those of flattening them in one piece, bit by bit."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from PIL import ImageOps

from sightguard.data import flatten
from sightguard.data.flatten import BROKEN
from sightguard.data.pictures import decode
from sightguard.types import Image
from tests.memory import grown

SIZE = (37, 29)


def in_one_piece(data: bytes) -> PIL.Image.Image:
    """The same by whole copies, as one would write it first."""
    picture: PIL.Image.Image = PIL.Image.open(io.BytesIO(data))
    picture.load()
    with contextlib.suppress(*BROKEN):
        picture = ImageOps.exif_transpose(picture)
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        values = np.asarray(picture, dtype=np.float64)
        top = values.max(initial=0.0)
        full = next((scale for scale in (1.0, 255.0, 65535.0) if top <= scale), top)
        full = full if picture.mode == "F" else max(full, 65535.0)
        grey = np.clip(np.rint(values / full * 255), 0, 255).astype(np.uint8)
        return PIL.Image.fromarray(grey).convert("RGB")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    white = PIL.Image.new("RGBA", layer.size, (255, 255, 255, 255))
    return PIL.Image.alpha_composite(white, layer).convert("RGB")


def noise(mode: str, seed: int = 0) -> PIL.Image.Image:
    draw = np.random.default_rng(seed)
    wide, high = SIZE
    if mode == "I;16":
        return PIL.Image.fromarray(draw.integers(0, 65536, (high, wide)).astype(np.uint16))
    if mode == "I":
        return PIL.Image.fromarray(draw.integers(-5, 2**20, (high, wide)).astype(np.int32))
    if mode == "F":
        return PIL.Image.fromarray(draw.uniform(-1, 700, (high, wide)).astype(np.float32))
    channels = len(PIL.Image.new(mode, (1, 1)).getbands())
    return PIL.Image.frombytes(mode, SIZE, draw.bytes(wide * high * channels))


def saved(picture: PIL.Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def turned(orientation: int) -> PIL.Image.Exif:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    return exif


def big_endian_tiff() -> bytes:
    """16-bit grey as Motorola's processors write it."""
    wide, high = SIZE
    rows = np.random.default_rng(3).integers(0, 65536, (high, wide)).astype(">u2").tobytes()
    entries = [
        (256, wide),
        (257, high),
        (258, 16),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, high),
        (279, len(rows)),
    ]
    directory = b"".join(struct.pack(">HHII", tag, 4, 1, value) for tag, value in entries)
    return b"MM\0*" + struct.pack(">I", 8 + len(rows)) + rows + struct.pack(">H", len(entries)) + directory + bytes(4)


MADE = {
    **{f"{mode} PNG": saved(noise(mode)) for mode in ("1", "L", "LA", "RGB", "RGBA", "I;16")},
    **{f"{mode} TIFF": saved(noise(mode), "TIFF") for mode in ("I;16", "I", "F", "CMYK", "LAB", "YCbCr", "RGBA")},
    **{f"RGBA turned {n}": saved(noise("RGBA", n), exif=turned(n)) for n in range(10)},
    **{f"RGB turned {n}": saved(noise("RGB", n), exif=turned(n)) for n in (0, 1, 6, 9)},
    **{f"deep grey turned {n}": saved(noise("I;16", n), exif=turned(n)) for n in (3, 8)},
    "palette": saved(noise("RGB").quantize(40)),
    "palette, one colour clear": saved(noise("RGB").quantize(40), transparency=7),
    "palette, each colour as clear as it likes": saved(noise("RGB").quantize(40), transparency=bytes(range(0, 240, 6))),
    "grey, one clear": saved(noise("L"), transparency=3),
    "RGB, one clear": saved(PIL.Image.new("RGB", SIZE, (9, 8, 7)), transparency=(9, 8, 7)),
    "JPEG": saved(noise("RGB"), "JPEG"),
    "JPEG of print": saved(noise("CMYK"), "JPEG"),
    "WebP": saved(noise("RGBA"), "WEBP", lossless=True),
    "GIF": saved(noise("RGB").quantize(40), "GIF", transparency=2),
    "floats below one": saved(noise("F").point(lambda value: value * 0.001 + 0), "TIFF"),
    "big-endian TIFF": big_endian_tiff(),
    "EXIF that is none": saved(noise("RGBA"), exif=b"Exif\0\0no such thing at all"),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_strips_change_no_value(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flatten, "STRIP", 3 * SIZE[0])
    found, wanted = decode(Image(data=MADE[name])), in_one_piece(MADE[name])
    assert (found.mode, found.size) == ("RGB", wanted.size)
    assert len(set(wanted.tobytes())) > 1 or name == "RGB, one clear"
    assert found.tobytes() == wanted.tobytes()


def test_the_highest_value_is_that_of_the_whole_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flatten, "STRIP", 4)
    values = np.zeros((4, 4), np.float32)
    values[0], values[3, 3] = 100_000, 1_000_000
    found = np.asarray(decode(Image(data=saved(PIL.Image.fromarray(values), "TIFF"))))
    assert (found[0, 0, 0], found[3, 3, 0]) == (26, 255)


def test_a_decoded_picture_holds_nothing_but_its_pixels() -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    whole = saved(noise("RGB"))
    text = chunk(b"zTXt", b"words\0\0" + zlib.compress(b"a" * 100_000))
    assert decode(Image(data=whole[:33] + text + whole[33:])).info == {}


DECODE = """
from sightguard.data.pictures import decode
from sightguard.types import Image
from tests.data.test_flatten import MADE
for data in MADE.values():
    decode(Image(data=data))
image = Image(data=Path(sys.argv[1]).read_bytes())
begin()
kept = decode(image)
end()
"""


@pytest.mark.parametrize(
    ("name", "mode", "kind", "most"),
    [
        ("RGB", "RGB", "PNG", 9),
        ("transparent", "RGBA", "PNG", 10),
        ("deep grey", "I;16", "PNG", 10),
        ("print", "CMYK", "JPEG", 14),
        ("WebP", "RGBA", "WEBP", 18),
        ("AVIF", "RGBA", "AVIF", 18),
    ],
)
def test_one_decode_takes_no_more_memory_a_pixel_than_it_has_to(
    name: str, mode: str, kind: str, most: int, tmp_path: Path
) -> None:
    side = 2500
    quick: dict[str, dict[str, int]] = {"JPEG": {"progressive": 1}, "WEBP": {"method": 0}, "AVIF": {"speed": 10}}
    (tmp_path / "picture").write_bytes(saved(PIL.Image.new(mode, (side, side), 77), kind, **quick.get(kind, {})))
    assert grown(DECODE, tmp_path / "picture") < most * side**2
