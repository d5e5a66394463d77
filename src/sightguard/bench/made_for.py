"""What pictures that an attack found were made for: the model, the defense and the prompts, by digests.

Pictures that were made for something else are looked for anew, unless answers to them are in the run already: then the run would be of two
kinds of pictures, and is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightguard.artifacts import sha256_json
from sightguard.bench.configured import digests
from sightguard.bench.context import Context
from sightguard.bench.defenses import Defense
from sightguard.errors import OutputError
from sightguard.evaluate.folder import RunFolder
from sightguard.evaluate.rows import digest
from sightguard.types import Sample

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM


def made_for(
    vlm: VLM, defense: Defense | None, context: Context, samples: Sequence[Sample], target: Callable[[Sample], str]
) -> dict[str, str]:
    """Return the digests.

    Args:
        vlm: the undefended model.
        defense: that gradients go through; None where nothing depends on it.
        context: that it was made from.
        samples: before the attack.
        target: what the answer to each is to begin with.
    """
    known = None if defense is None else {"about": defense.about, "folders": digests(context.folders)}
    return {
        "model": sha256_json(asdict(vlm.fingerprint)),
        "defense": sha256_json(known),
        "prompts": sha256_json([[digest(sample), target(sample)] for sample in samples]),
    }


def is_made_for(told: Mapping[str, Any], wanted: Mapping[str, str], *, answered: bool) -> bool:
    """Return whether what was found is what is wanted.

    Args:
        told: the content of `found.json`.
        wanted: the digests.
        answered: whether the run holds answers to it. Earlier versions kept no digests; they asked nothing before the run was known to be the same.
    """
    kept: object = told.get("made_for")
    return answered if kept is None else kept == dict(wanted)


def answered_in(folder: Path) -> Collection[tuple[str, str]]:
    """Return the (setting, defense) of which a run holds answers."""
    return {(row.setting, row.condition) for row in RunFolder(folder).stream()}


def refuse_mixed(place: Path, setting: str, answers: Collection[tuple[str, str]]) -> None:
    """Raise where pictures would be made anew to which the run holds answers already.

    Raises:
        OutputError: it does.
    """
    if any(asked == setting for asked, _ in answers):
        raise OutputError(
            f"{str(place)!r} does not hold the pictures that the answers of {setting!r} are to: they are gone, or were made for another "
            "model, defense or prompts. Put them back, or name another folder for the run; nothing was changed."
        )
