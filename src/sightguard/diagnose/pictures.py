"""The picture that prompts are shown beside: blank, noise, or one of the user's own."""

from __future__ import annotations

from pathlib import Path

from sightguard.data.blank import blank, noise
from sightguard.data.pictures import decode
from sightguard.errors import UnknownName
from sightguard.types import Image

NAMES = ("blank", "noise")


def shows(name: str) -> bool:
    """Return whether the picture of that name shows something."""
    return name not in NAMES


def picture(name: str, *, seed: int = 0) -> Image:
    """Return the picture of that name, or in the file of that name.

    Args:
        name: "blank", "noise", or a path.
        seed: of the noise.

    Raises:
        UnknownName: neither a name of ours nor a path.
        PictureError: a file that is missing or holds no picture.
    """
    if name in NAMES:
        return blank() if name == "blank" else noise(seed=seed)
    path = Path(name)
    if not path.exists() and path.suffix == "" and path.name == name:
        raise UnknownName("picture", name, NAMES, "Or pass the path of a picture.")
    found = Image(path=path)
    decode(found)
    return Image(data=found.read())
