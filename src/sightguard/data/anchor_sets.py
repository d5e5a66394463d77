"""The prompts that a guard is fitted and calibrated on, brought along by the package and in our own words.

The pairs name a wish and nothing else: no harmful question holds a material, an amount, a tool or a way to do it. Nothing here
comes from a benchmark, so that benchmarks stay what they are for: measuring. `tests/data/test_anchors.py` holds both.
"""

from __future__ import annotations

import csv
from importlib.resources import files
from io import StringIO

from sightguard.errors import UnknownName
from sightguard.types import Sample

ANCHORS = "sightguard-anchors@1/train"
HARMLESS = "sightguard-harmless@1/calibration"
KINDS = ("question", "task", "writing", "code", "chat", "picture", "sensitive")


def anchors() -> list[tuple[Sample, Sample]]:
    """Return 100 pairs of questions, harmful and harmless, alike in form and length; both carry the category of the harm.

    Example:
        >>> harmful, harmless = anchors()[0]
        >>> harmful.id, harmful.harmful, harmless.harmful, harmless.category
        ('anchors/001/harmful', True, False, 'violence')
    """
    return [
        (
            Sample.of(
                row["harmful"], id=f"anchors/{n:03}/harmful", harmful=True, category=row["category"], source=ANCHORS
            ),
            Sample.of(
                row["harmless"], id=f"anchors/{n:03}/harmless", harmful=False, category=row["category"], source=ANCHORS
            ),
        )
        for n, row in enumerate(_rows("pairs.csv"), start=1)
    ]


def harmless_prompts(kind: str | None = None) -> list[Sample]:
    """Return 500 harmless prompts, or those of one kind: what a guard must let pass, to set its false refusals by.

    The kind is the sample's category. `picture` holds questions about a picture, to be asked beside one of yours; `sensitive` holds
    alarming words that are meant well: homonyms, figures of speech, games, safety, definitions, history, people who never lived.

    Example:
        >>> len(harmless_prompts()), harmless_prompts("picture")[0].text
        (500, 'What is written on the big sign?')

    Raises:
        UnknownName: there is no such kind; the message says which is close.
    """
    if kind is not None and kind not in KINDS:
        raise UnknownName("kind of harmless prompt", kind, KINDS)
    return [
        Sample.of(
            row["prompt"], id=f"harmless/{row['kind']}/{n:03}", harmful=False, category=row["kind"], source=HARMLESS
        )
        for n, row in enumerate(_rows("harmless.csv"), start=1)
        if kind in (None, row["kind"])
    ]


def _rows(name: str) -> list[dict[str, str]]:
    text = (files("sightguard.data") / "anchors" / name).read_text(encoding="utf-8")
    return list(csv.DictReader(StringIO(text)))
