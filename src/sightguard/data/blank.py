"""A picture that shows nothing, blank or noise: the smallest thing that opens the safety gap."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

from sightguard.types import Image, Sample


def blank(width: int = 336, height: int = 336, colour: tuple[int, int, int] = (255, 255, 255)) -> Image:
    """Return a one-coloured PNG."""
    import PIL.Image

    data = io.BytesIO()
    PIL.Image.new("RGB", (width, height), colour).save(data, "PNG")
    return Image(data=data.getvalue())


def noise(width: int = 336, height: int = 336, *, seed: int = 0) -> Image:
    """Return a PNG of independent random colours."""
    import numpy as np
    import PIL.Image

    data = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(data, "PNG")
    return Image(data=data.getvalue())


def beside_a_picture(samples: Sequence[Sample]) -> list[Sample]:
    """Return the samples, each beside a blank picture if none of them holds any: where there is no picture there is little to guard."""
    if any(sample.images for sample in samples):
        return list(samples)
    picture = blank()
    return [pictured(sample, picture) for sample in samples]


def pictured(sample: Sample, image: Image) -> Sample:
    """Return the sample with `image` before the text of its last turn."""
    *earlier, last = sample.messages
    return replace(sample, id=f"{sample.id}+picture", messages=(*earlier, replace(last, parts=(image, *last.parts))))
