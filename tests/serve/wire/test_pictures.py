from __future__ import annotations

import base64
import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace

import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightguard.errors import PictureError
from sightguard.serve.settings import Settings
from sightguard.serve.wire.chat import read
from sightguard.serve.wire.errors import WireError
from sightguard.serve.wire.pictures import Pictures
from sightguard.types import Image
from tests.serve.wire.made import NAME, SETTINGS, chat, encoded, shown, uri

WHERE = "messages.0.content.0.image_url.url"


def picture(url: str, limits: Settings, param: str, fetch: Callable[[str], bytes] | None = None) -> Image:
    """Take one picture, and check it."""
    pictures = Pictures(limits, fetch)
    image = pictures.take(url, param)
    pictures.check("messages")
    return image


def error(url: str, fetch: Callable[[str], bytes] | None = None) -> WireError:
    with pytest.raises(WireError) as raised:
        picture(url, SETTINGS, WHERE, fetch)
    assert (raised.value.status, raised.value.param) == (400, WHERE)
    return raised.value


def frames(format: str, n: int = 3) -> bytes:
    file = io.BytesIO()
    first, *others = [PIL.Image.new("RGB", (4, 4), (i * 60, 0, 0)) for i in range(n)]
    first.save(file, format, save_all=True, append_images=others)
    return file.getvalue()


def giant(width: int, height: int) -> bytes:
    """A PNG of a few bytes that would unfold to gigabytes."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + rows


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.png", encoded())
    return file.getvalue()


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"><rect width="4" height="4"/></svg>'
BAD: dict[str, str] = {
    "nothing": "data:image/png;base64,",
    "text": uri(b"hello"),
    "a zip posing as PNG": uri(zipped()),
    "a PNG's first bytes before a zip": uri(b"\x89PNG\r\n\x1a\n" + zipped()),
    "an icon": uri(encoded("ICO", (16, 16)), "image/x-icon"),
    "a line of pixels": uri(encoded(size=(9, 901))),
    "a truncated JPEG": uri(encoded("JPEG", (64, 64))[:-200], "image/jpeg"),
    "a truncated PNG": uri(encoded("PNG", (64, 64))[:-40]),
    "SVG": uri(SVG, "image/svg+xml"),
    "SVG posing as PNG": uri(SVG),
    "30,000 x 30,000": uri(giant(30_000, 30_000)),
    "one pixel too many": uri(encoded(size=(10_001, 1))),
    "too many bytes": uri(encoded("BMP", (190, 190))),
    "too many letters of base64": "data:image/png;base64," + "A" * 400_000,
    "an animated GIF": uri(frames("GIF"), "image/gif"),
    "an animated PNG": uri(frames("PNG")),
    "an animated WebP": uri(frames("WEBP"), "image/webp"),
    "a TIFF of several pages": uri(frames("TIFF"), "image/tiff"),
    "no base64": "data:image/png;base64,####",
    "white space in base64": uri()[:60] + "\n" + uri()[60:],
    "base64 without its padding": uri(encoded() + b"x" * (1 - len(encoded()) % 3 + 3)).rstrip("="),
    "base64 of web addresses": "data:image/png;base64,_-__",
    "letters behind the end": uri() + "AAAA=AAA",
    "letters that are not ASCII": "data:image/png;base64,éééé",
}
ELSEWHERE = (
    "http://example.org/a.png", "https://example.org/a.png", "HTTP://example.org", "file:///etc/passwd", "ftp://x/y", "//x/y", "",
    "a.png", "javascript:0", "blob:x", "data:", "data:,x", "data:text/plain;base64,aGk=", "data:video/mp4;base64,AAAA",
    "data:image/png,abc", "data:image/;base64,AAAA", "data:image/png;charset=x;base64,AAAA", "data:image/" + "p" * 200 + ";base64,AAAA",
)  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_whole_picture_of_one_frame_is_refused(name: str) -> None:
    assert error(BAD[name]).code == "invalid_image"


@pytest.mark.parametrize("url", ELSEWHERE)
def test_nothing_but_pictures_in_data_uris_is_read_by_default(url: str) -> None:
    assert error(url).code == "image_url_not_allowed"


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_pictures_of_every_usual_format_are_taken_byte_by_byte_whatever_the_uri_calls_them(format: str) -> None:
    data = encoded(format)
    assert picture(uri(data, "image/whatever"), SETTINGS, WHERE) == Image(data=data)
    assert picture(uri(data, "IMAGE/PNG").replace("data:", "DATA:"), SETTINGS, WHERE) == Image(data=data)


def test_a_picture_of_one_pixel_and_one_of_all_allowed_pixels_are_taken() -> None:
    for size in ((1, 1), (100, 100)):
        picture(uri(encoded(size=size)), SETTINGS, WHERE)


def test_the_limit_on_bytes_is_exact() -> None:
    data = encoded()
    limits = replace(SETTINGS, max_image_bytes=len(data))
    picture(uri(data), limits, WHERE)
    with pytest.raises(WireError, match="bytes"):
        picture(uri(data), replace(limits, max_image_bytes=len(data) - 1), WHERE)


def test_a_phones_jpeg_with_a_second_picture_is_taken() -> None:
    assert picture(uri(frames("MPO", 2), "image/jpeg"), SETTINGS, WHERE).data is not None


def test_addresses_are_fetched_where_the_operator_allows_it_and_what_came_is_checked() -> None:
    asked: list[str] = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        return encoded()

    assert picture("https://example.org/a.png", SETTINGS, WHERE, fetch) == Image(data=encoded())
    assert asked == ["https://example.org/a.png"]
    assert error("file:///a.png", fetch).code == "image_url_not_allowed"
    assert len(asked) == 1
    assert error("https://example.org/a.png", lambda _: b"no picture").code == "invalid_image"
    assert error("https://example.org/a.png", lambda _: b"x" * 100_001).code == "invalid_image"


def test_a_fetch_that_fails_is_an_error_of_the_request() -> None:
    def fetch(url: str) -> bytes:
        raise PictureError("'example.org' is not allowed.")

    assert error("https://example.org/a.png", fetch).code == "invalid_image_url"


def test_a_bad_picture_anywhere_refuses_the_whole_request_and_is_named() -> None:
    with pytest.raises(WireError) as raised:
        read(chat(shown(uri(), BAD["SVG"])), SETTINGS, [NAME])
    assert (raised.value.code, raised.value.param) == ("invalid_image", "messages.0.content.1.image_url.url")


@given(st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"]), st.data())
@settings(max_examples=150, deadline=None)
def test_damage_anywhere_is_taken_or_refused_and_never_raises_anything_else(format: str, data: st.DataObject) -> None:
    broken = bytearray(encoded(format, (9, 7)))
    for _ in range(data.draw(st.integers(1, 6))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    url = f"data:image/png;base64,{base64.b64encode(bytes(broken)).decode()}"
    code = None
    try:
        picture(url, SETTINGS, WHERE)
    except WireError as refused:
        code = refused.code
    assert code in (None, "invalid_image")
