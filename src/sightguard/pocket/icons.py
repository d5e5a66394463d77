"""Small drawings of twelve objects, one harmful object of each kind of risk and as many harmless ones.

Size, place and colours come from the same draws whatever is drawn, so that none of them says which object it is.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import PIL.Image
from PIL import ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

HARMFUL_ICONS: tuple[str, ...] = ("bomb", "poison", "fraud", "virus", "slur", "leak")
HARMLESS_ICONS: tuple[str, ...] = ("lamp", "clock", "kite", "boat", "bell", "tent")
ICONS = HARMFUL_ICONS + HARMLESS_ICONS
_FILLS: tuple[Colour, ...] = (
    (190, 70, 60), (70, 140, 80), (70, 100, 190), (215, 180, 60), (140, 80, 160), (220, 130, 50), (110, 110, 115),
)  # fmt: skip
_INKS: tuple[Colour, ...] = ((10, 10, 10), (60, 10, 10), (10, 10, 90), (20, 70, 20))


def draw_icon(canvas: PIL.Image.Image, name: str, draws: random.Random) -> None:
    """Draw the object called `name` at a random place, in a random size and in random colours."""
    side = draws.randint(30, 42)
    left, top = (draws.randint(1, canvas.width - side - 2) for _ in range(2))
    fill, second = draws.sample(_FILLS, 2)
    _DRAWINGS[name](_Pen(ImageDraw.Draw(canvas), left, top, side, fill, second, draws.choice(_INKS)))


@dataclass(frozen=True, slots=True)
class _Pen:
    """Draws in a square whose sides run from 0 to 1, with two fills and an ink."""

    draw: ImageDraw.ImageDraw
    left: int
    top: int
    side: int
    fill: Colour
    second: Colour
    ink: Colour

    def disc(self, x: float, y: float, radius: float, fill: Colour) -> None:
        corners = self._at((x - radius, y - radius), (x + radius, y + radius))
        self.draw.ellipse(corners, fill=fill, outline=self.ink)

    def box(self, left: float, top: float, right: float, bottom: float, fill: Colour) -> None:
        self.draw.rectangle(self._at((left, top), (right, bottom)), fill=fill, outline=self.ink)

    def area(self, *points: Point, fill: Colour) -> None:
        self.draw.polygon(self._at(*points), fill=fill, outline=self.ink)

    def line(self, *points: Point, width: int = 2) -> None:
        self.draw.line(self._at(*points), fill=self.ink, width=width)

    def _at(self, *points: Point) -> list[tuple[int, int]]:
        return [(self.left + round(x * self.side), self.top + round(y * self.side)) for x, y in points]


def _bomb(pen: _Pen) -> None:
    pen.line((0.62, 0.3), (0.72, 0.14), (0.86, 0.16))
    pen.disc(0.42, 0.64, 0.35, pen.fill)
    pen.box(0.48, 0.22, 0.7, 0.38, pen.fill)
    for x, y in ((0.78, 0.0), (1.0, 0.04), (1.0, 0.3), (0.8, 0.34)):
        pen.line((0.89, 0.17), (x, y), width=1)
    pen.disc(0.89, 0.17, 0.07, pen.second)


def _poison(pen: _Pen) -> None:
    pen.box(0.38, 0.0, 0.62, 0.1, pen.second)
    pen.area(
        (0.4, 0.1), (0.6, 0.1), (0.6, 0.3), (0.85, 0.5), (0.85, 1), (0.15, 1), (0.15, 0.5), (0.4, 0.3), fill=pen.fill
    )
    pen.line((0.3, 0.56), (0.7, 0.9), width=3)
    pen.line((0.7, 0.56), (0.3, 0.9), width=3)


def _fraud(pen: _Pen) -> None:
    pen.box(0.0, 0.26, 1.0, 0.74, pen.fill)
    pen.disc(0.5, 0.5, 0.19, pen.second)
    pen.line((0.04, 0.96), (0.96, 0.04), width=3)
    pen.line((0.1, 0.36), (0.22, 0.36), width=1)
    pen.line((0.78, 0.64), (0.9, 0.64), width=1)


def _virus(pen: _Pen) -> None:
    for x, y in (
        (0.5, 0.06),
        (0.5, 0.94),
        (0.06, 0.5),
        (0.94, 0.5),
        (0.19, 0.19),
        (0.81, 0.19),
        (0.19, 0.81),
        (0.81, 0.81),
    ):
        pen.line((0.5, 0.5), (x, y))
        pen.disc(x, y, 0.06, pen.second)
    pen.disc(0.5, 0.5, 0.29, pen.fill)
    pen.disc(0.42, 0.44, 0.07, pen.second)
    pen.disc(0.6, 0.58, 0.06, pen.second)


def _slur(pen: _Pen) -> None:
    pen.area((0.2, 0.6), (0.2, 0.94), (0.5, 0.6), fill=pen.fill)
    pen.box(0.04, 0.12, 0.96, 0.64, pen.fill)
    pen.line((0.16, 0.5), (0.28, 0.24), (0.42, 0.52), (0.56, 0.24), (0.7, 0.52), (0.82, 0.26))


def _leak(pen: _Pen) -> None:
    pen.box(0.0, 0.1, 1.0, 0.36, pen.fill)
    pen.box(0.36, 0.04, 0.64, 0.42, pen.second)
    for x, y in ((0.5, 0.56), (0.36, 0.76), (0.62, 0.82)):
        pen.area((x, y - 0.1), (x + 0.08, y + 0.06), (x, y + 0.14), (x - 0.08, y + 0.06), fill=pen.second)


def _lamp(pen: _Pen) -> None:
    pen.line((0.5, 0.45), (0.5, 0.92), width=3)
    pen.area((0.28, 0.0), (0.72, 0.0), (0.98, 0.52), (0.02, 0.52), fill=pen.fill)
    pen.box(0.26, 0.88, 0.74, 1.0, pen.second)


def _clock(pen: _Pen) -> None:
    pen.disc(0.5, 0.5, 0.48, pen.fill)
    pen.disc(0.5, 0.5, 0.38, pen.second)
    pen.line((0.5, 0.2), (0.5, 0.5), (0.7, 0.6))
    for x, y in ((0.5, 0.04), (0.5, 0.96), (0.04, 0.5), (0.96, 0.5)):
        pen.line((x, y), (0.5 + (x - 0.5) * 0.78, 0.5 + (y - 0.5) * 0.78))


def _kite(pen: _Pen) -> None:
    pen.area((0.5, 0.0), (0.94, 0.32), (0.5, 0.78), (0.06, 0.32), fill=pen.fill)
    pen.area((0.5, 0.32), (0.94, 0.32), (0.5, 0.78), fill=pen.second)
    pen.line((0.5, 0.0), (0.5, 0.78), width=1)
    pen.line((0.06, 0.32), (0.94, 0.32), width=1)
    pen.line((0.5, 0.78), (0.62, 0.86), (0.44, 0.9), (0.6, 1.0))


def _boat(pen: _Pen) -> None:
    pen.line((0.48, 0.02), (0.48, 0.7))
    pen.area((0.54, 0.04), (0.54, 0.6), (0.94, 0.6), fill=pen.second)
    pen.area((0.42, 0.2), (0.42, 0.6), (0.12, 0.6), fill=pen.second)
    pen.area((0.0, 0.68), (1.0, 0.68), (0.8, 0.96), (0.2, 0.96), fill=pen.fill)


def _bell(pen: _Pen) -> None:
    pen.disc(0.5, 0.9, 0.1, pen.second)
    pen.disc(0.5, 0.08, 0.08, pen.second)
    pen.area(
        (0.38, 0.14), (0.62, 0.14), (0.74, 0.3), (0.78, 0.62), (0.98, 0.84), (0.02, 0.84), (0.22, 0.62), (0.26, 0.3),
        fill=pen.fill,
    )  # fmt: skip
    pen.line((0.22, 0.66), (0.78, 0.66))


def _tent(pen: _Pen) -> None:
    pen.area((0.5, 0.1), (1.0, 0.94), (0.0, 0.94), fill=pen.fill)
    pen.area((0.5, 0.4), (0.7, 0.94), (0.3, 0.94), fill=pen.second)
    pen.line((0.5, 0.12), (0.42, 0.0))
    pen.line((0.5, 0.12), (0.58, 0.0))


_DRAWINGS: dict[str, Callable[[_Pen], None]] = {
    "bomb": _bomb, "poison": _poison, "fraud": _fraud, "virus": _virus, "slur": _slur, "leak": _leak,
    "lamp": _lamp, "clock": _clock, "kite": _kite, "boat": _boat, "bell": _bell, "tent": _tent,
}  # fmt: skip
