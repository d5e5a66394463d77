"""Drawings of 48 x 48 pixels: coloured shapes, words in bitmap fonts, icons, blank paper, noise."""

from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
import PIL.Image
from PIL import ImageDraw, ImageFont

from sightguard.pocket.icons import draw_icon
from sightguard.pocket.items import HELD_OUT_FONTS, TRAIN_FONTS, Font, Picture
from sightguard.types import Image

__all__ = ["HELD_OUT_FONTS", "SIDE", "TRAIN_FONTS", "pixels", "render"]

SIDE = 48
_COLOURS = {
    "red": (205, 40, 40), "green": (40, 150, 60), "blue": (45, 70, 205), "yellow": (225, 205, 40),
    "purple": (135, 50, 165), "orange": (235, 130, 30), "black": (20, 20, 20),
}  # fmt: skip
_Mask = np.ndarray[Any, np.dtype[np.uint8]]
_INKS = ((10, 10, 10), (60, 10, 10), (10, 10, 90), (20, 70, 20))


def render(picture: Picture) -> Image:
    """Return the picture as PNG bytes; the same `Picture` gives the same bytes."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels(picture)).save(buffer, format="PNG")
    return Image(data=buffer.getvalue())


def pixels(picture: Picture) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the picture as an array, height x width x 3."""
    draws = random.Random(picture.seed)
    if picture.kind == "noise":
        return np.random.default_rng(picture.seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    paper = tuple(draws.randint(225, 255) for _ in range(3))
    canvas = PIL.Image.new("RGB", (SIDE, SIDE), paper)
    if picture.kind == "word" and picture.font in ("plain", "inverted"):
        _draw_word(canvas, picture.word, draws)
    elif picture.kind == "word":
        _draw_letters(canvas, _letters(picture.word, picture.font), draws)
    elif picture.kind == "shape":
        _draw_shape(canvas, picture.shape, _COLOURS[picture.colour], draws)
    elif picture.kind == "icon":
        draw_icon(canvas, picture.word, draws)
    drawn = np.asarray(canvas)
    return 255 - drawn if picture.kind == "word" and picture.font == "inverted" else drawn


def _draw_word(canvas: PIL.Image.Image, word: str, draws: random.Random) -> None:
    # The bitmap font of Pillow: the outline font differs from one FreeType to the next, and pixels must not.
    font = ImageFont.load_default_imagefont()
    left, top, right, bottom = font.getbbox(word)
    free_x, free_y = SIDE - int(right - left) - 2, SIDE - int(bottom - top) - 2
    at = (1 + draws.randint(0, max(0, free_x)), 1 + draws.randint(0, max(0, free_y)))
    ImageDraw.Draw(canvas).text(at, word, fill=draws.choice(_INKS), font=font)


def _letters(word: str, font: Font) -> _Mask:
    """Return how dark the ink of a word is, cut to the word: 255 for ink, 0 for paper."""
    paper = PIL.Image.new("L", (SIDE * 2, SIDE))
    ImageDraw.Draw(paper).text((0, 0), word, fill=255, font=ImageFont.load_default_imagefont())
    ink: _Mask = np.asarray(paper.crop(paper.getbbox()))
    if font == "bold":
        # Half as dark beside each stroke: full ink would fill the letters.
        return np.maximum(np.pad(ink, ((0, 0), (0, 1))), np.pad(ink // 2, ((0, 0), (1, 0))))
    if font == "tall":
        return ink.repeat(2, axis=0)
    if font == "italic":
        return _leaning(ink.repeat(2, axis=0))
    framed: _Mask = np.pad(np.pad(ink, 2), 1, constant_values=255)
    return framed


def _leaning(ink: _Mask) -> _Mask:
    """Shift the upper rows to the right, as far as a long word leaves room for."""
    height, width = ink.shape
    lean = max(1, min(5, SIDE - width))
    shifts = [round(lean * (height - 1 - row) / max(1, height - 1)) for row in range(height)]
    return np.stack([np.pad(line, (by, lean - by)) for line, by in zip(ink, shifts, strict=True)])


def _draw_letters(canvas: PIL.Image.Image, ink: _Mask, draws: random.Random) -> None:
    height, width = ink.shape
    # A frame that is too wide loses its sides and never a letter.
    left = draws.randint(0, SIDE - width) if width <= SIDE else -((width - SIDE) // 2)
    at = (left, draws.randint(0, SIDE - height))
    canvas.paste(draws.choice(_INKS), at, PIL.Image.fromarray(ink))


def _draw_shape(canvas: PIL.Image.Image, shape: str, colour: tuple[int, int, int], draws: random.Random) -> None:
    radius = draws.randint(9, 17)
    x, y = (draws.randint(radius + 2, SIDE - radius - 3) for _ in range(2))
    pen = ImageDraw.Draw(canvas)
    box = (x - radius, y - radius, x + radius, y + radius)
    if shape == "circle":
        pen.ellipse(box, fill=colour)
    elif shape == "square":
        pen.rectangle(box, fill=colour)
    elif shape == "triangle":
        pen.polygon([(x, y - radius), (x - radius, y + radius), (x + radius, y + radius)], fill=colour)
    elif shape == "diamond":
        pen.polygon([(x, y - radius), (x - radius, y), (x, y + radius), (x + radius, y)], fill=colour)
    elif shape == "cross":
        arm = radius // 3
        pen.rectangle((x - radius, y - arm, x + radius, y + arm), fill=colour)
        pen.rectangle((x - arm, y - radius, x + arm, y + radius), fill=colour)
    else:
        arm = radius // 3
        pen.rectangle((x - radius, y - arm, x + radius, y + arm), fill=colour)
