"""Requests, pictures and findings, made here."""

from __future__ import annotations

import base64
import io
from typing import Any

import PIL.Image

from sightguard.serve.job import GuardId, LayerGate, Proof
from sightguard.serve.settings import Settings
from sightguard.types import Risk

NAME = "tiny"
GUARD = GuardId("vlm_guard", "ab" * 32)
SETTINGS = Settings(max_images=2, max_messages=8, max_tokens=64, max_image_bytes=100_000, max_pixels=10_000)


def encoded(format: str = "PNG", size: tuple[int, int] = (4, 3), **options: Any) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", size, (200, 30, 30)).save(file, format, **options)
    return file.getvalue()


def uri(data: bytes | None = None, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(encoded() if data is None else data).decode()}"


def chat(content: Any = "What is this?", **fields: Any) -> dict[str, Any]:
    return {"model": NAME, "messages": [{"role": "user", "content": content}], **fields}


def shown(*urls: str, text: str = "What is this?") -> list[dict[str, Any]]:
    return [*({"type": "image_url", "image_url": {"url": url}} for url in urls), {"type": "text", "text": text}]


def risk(type: str = "privacy", level: int = 2, p_unsafe: float = 0.75) -> Risk:
    spread = {"privacy": 0.5, "illegal": 0.25, "safe": 0.25}
    return Risk(type, level, p_unsafe, spread, {"privacy": 2, "illegal": 3, "safe": 0})


PROOF = Proof(
    inspected={"text": 1, "image": 1},
    methods=("vlm_guard",),
    risk=risk(),
    rule="privacy/2:may_refuse",
    gate=(LayerGate(3, 0.25, 0.5, False), LayerGate(5, 0.75, 0.5, True)),
)
