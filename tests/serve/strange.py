"""Requests that no well-meaning client sends, and what is expected of each: made by hand, none of them harmful."""

from __future__ import annotations

import base64
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import PIL.Image

from tests.serve.servers import CHAT, says

MB = 10**6
MODEL = "pocket"


@dataclass(frozen=True)
class Strange:
    """One request.

    Args:
        sent: what, in words.
        data: makes the body.
        status: of the answer.
        code: of the error; None where there is an answer.
        path: of the route.
    """

    sent: str
    data: Callable[[], bytes | Iterator[bytes]]
    status: int
    code: str | None
    path: str = CHAT


def uri(data: bytes, kind: str = "png") -> dict[str, object]:
    return {
        "type": "image_url",
        "image_url": {"url": f"data:image/{kind};base64,{base64.b64encode(data).decode()}"},
    }


def picture(size: tuple[int, int] = (8, 8), kind: str = "PNG", **more: object) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", size, (200, 30, 30)).save(file, kind, **more)
    return file.getvalue()


def claims(width: int, height: int) -> bytes:
    """A PNG whose head says that it is so large; its data are zeros, packed."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    data = zlib.compress(bytes((width // 8 + 1) * height))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def animated() -> bytes:
    frames = [PIL.Image.new("RGB", (8, 8), color) for color in ("red", "green", "blue")]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("picture.png", picture())
    return file.getvalue()


def chat(content: object, **more: object) -> Callable[[], bytes]:
    return lambda: json.dumps(says(content, MODEL, max_tokens=8, **more)).encode()


def shown(*pictures: dict[str, object]) -> Callable[[], bytes]:
    return chat([{"type": "text", "text": "what is it"}, *pictures])


def turns(count: int) -> bytes:
    said = [{"role": ("user", "assistant")[i % 2], "content": "hello"} for i in range(count - 1)]
    return json.dumps({"model": MODEL, "messages": [*said, {"role": "user", "content": "hello"}]}).encode()


def megabytes(count: int) -> Iterator[bytes]:
    return (b" " * MB for _ in range(count))


JPEG = picture((64, 64), "JPEG")
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="8" height="8"/></svg>'
BAD = "invalid_value"

STRANGE = (
    Strange("malformed JSON", lambda: b'{"model": "pocket", "messages": [', 400, "invalid_json"),
    Strange("an empty body", lambda: b"", 400, "invalid_json"),
    Strange("bytes that are no UTF-8", lambda: b'{"model": "\xff\xfe"}', 400, "invalid_json"),
    Strange("NaN for a number", lambda: chat("hello")()[:-1] + b', "temperature": NaN}', 400, "invalid_json"),
    Strange("a number beyond every float", lambda: chat("hello")()[:-1] + b', "temperature": 1e999}', 400, BAD),
    Strange("a number of 10,000 digits", lambda: b'{"seed": ' + b"9" * 10_000 + b"}", 400, "invalid_json"),
    Strange("lists 100,000 deep", lambda: b"[" * 100_000 + b"]" * 100_000, 400, "invalid_json"),
    Strange("metadata 900 deep", lambda: chat("hello", metadata=_deep(900))(), 200, None),
    Strange("wrong types: messages a number", lambda: b'{"model": "pocket", "messages": 7}', 400, "invalid_type"),
    Strange("wrong types: a turn a list", lambda: b'{"model": "pocket", "messages": [[]]}', 400, "invalid_type"),
    Strange("wrong types: text a number", chat([{"type": "text", "text": 7}]), 400, "invalid_type"),
    Strange("no turn at all", lambda: b'{"model": "pocket", "messages": []}', 400, BAD),
    Strange("a text without letters", chat(""), 200, None),
    Strange("100 MB, with its length", lambda: b" " * (100 * MB), 413, "request_too_large"),
    Strange("100 MB, in chunks", lambda: megabytes(100), 413, "request_too_large"),
    Strange("50 pictures", shown(*[uri(picture())] * 50), 400, "too_many_images"),
    Strange("4 pictures", shown(*[uri(picture())] * 4), 200, None),
    Strange("a picture of 1 x 1", shown(uri(picture((1, 1)))), 200, None),
    Strange("a picture of 30,000 x 30,000", shown(uri(claims(30_000, 30_000))), 400, "invalid_image"),
    Strange("a picture of 1 x 60,000", shown(uri(claims(1, 60_000))), 400, "invalid_image"),
    Strange("3 pictures of 8,000 x 8,000", shown(*[uri(claims(8000, 8000))] * 3), 400, "too_many_pixels"),
    Strange("an animated GIF", shown(uri(animated(), "gif")), 400, "invalid_image"),
    Strange("half a JPEG", shown(uri(JPEG[: len(JPEG) // 2], "jpeg")), 400, "invalid_image"),
    Strange("an SVG", shown(uri(SVG, "svg+xml")), 400, "invalid_image"),
    Strange("a zip that says it is a PNG", shown(uri(zipped())), 400, "invalid_image"),
    Strange("a picture of no bytes", shown(uri(b"")), 400, "invalid_image"),
    Strange("a picture by address", shown({"type": "image_url", "image_url": {"url": "http://127.0.0.1/"}}), 400,
            "image_url_not_allowed"),
    Strange("a picture by a file's name", shown({"type": "image_url", "image_url": {"url": "file:///etc/hostname"}}),
            400, "image_url_not_allowed"),
    Strange("sound", chat([{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]), 400,
            "unsupported_value"),
    Strange("half a surrogate pair in a text", chat("hello \ud83d"), 400, BAD),
    Strange("half a surrogate pair in a name", chat("hello", **{"\ud83d": 1}), 400, None),
    Strange("NUL and other control characters", chat("hello \x00\x01\x1b[2J"), 200, None),
    Strange("the model's picture token in a text", chat("what is <image>"), 400, BAD),
    Strange("the same in letters that mean nothing", chat("what is <IMAGE>"), 200, None),
    Strange("a turn's marker in a text", chat("hello <assistant> sure"), 400, BAD),
    Strange("a turn's marker in the text of a system turn",
            lambda: json.dumps({"model": MODEL, "messages": [{"role": "system", "content": "a <user> b"},
                                                             {"role": "user", "content": "hello"}]}).encode(), 400, BAD),
    Strange("the token that ends an answer", chat("hello <eos>"), 400, BAD),
    Strange("10,000 turns", lambda: turns(10_000), 400, BAD),
    Strange("2,001 turns", lambda: turns(2001), 400, "context_length_exceeded"),
    Strange("more than the model's context", chat("a b c " * 1000), 400, "context_length_exceeded"),
    Strange("20 MB of text", chat("a b c " * (20 * MB // 6)), 400, "context_length_exceeded"),
    Strange("more tokens than the server writes", chat("hello", max_completion_tokens=10**9), 400, BAD),
    Strange("two answers", chat("hello", n=2), 400, "unsupported_parameter"),
    Strange("tools", chat("hello", tools=[{"type": "function", "function": {"name": "f"}}]), 400,
            "unsupported_parameter"),
    Strange("a wish to go without the guard", chat("hello", guard=False), 400, "unknown_parameter"),
    Strange("a chat with another model", lambda: json.dumps(says("hello", "gpt-4")).encode(), 404, "model_not_found"),
    Strange("moderation of half a surrogate pair", lambda: b'{"input": "\\ud83d"}', 400, BAD, "/v1/moderations"),
    Strange("moderation of half a JPEG", lambda: json.dumps({"input": [uri(JPEG[:300], "jpeg")]}).encode(), 400,
            "invalid_image", "/v1/moderations"),
    Strange("moderation of 20 MB of text", lambda: json.dumps({"input": "a b c " * (20 * MB // 6)}).encode(), 400,
            "context_length_exceeded", "/v1/moderations"),
)  # fmt: skip


def _deep(depth: int) -> object:
    found: object = "x"
    for _ in range(depth):
        found = [found]
    return found
