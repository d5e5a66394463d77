"""Fit a guard on a checkpoint of your own, on the English anchors, and ask it your prompts and pictures, guarded and not.

python examples/own_checkpoint.py CHECKPOINT [FILE.csv COLUMN | FOLDER WITH PICTURES] …

CHECKPOINT is a folder or hub id of the LLaVA architecture. Every picture is answered or refused with a reason; answers are counted here,
not printed, since what was asked may be harmful.
"""

import csv
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from sightguard import VLM, VlmGuard, anchors, steer
from sightguard.errors import SightguardError
from sightguard.types import Image, Sample

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".pgm", ".tga"}


def prompts(arguments: list[str]) -> Iterator[tuple[str, list[Sample]]]:
    """Yield the prompts of each file and folder."""
    given = iter(arguments)
    for word in given:
        place = Path(word)
        if place.is_dir():
            files = sorted(file for file in place.rglob("*") if file.suffix.lower() in PICTURES)
            yield place.name, [Sample.of("What is in the picture?", Image(path=file), id=file.name) for file in files]
        else:
            column = next(given)
            with place.open(encoding="utf-8", newline="") as lines:
                rows = [row[column] for row in csv.DictReader(lines)]
            yield place.name, [Sample.of(text, id=f"{place.name}/{number}") for number, text in enumerate(rows)]


def answer(model: VLM | object, samples: list[Sample]) -> dict[str, str]:
    """Return answers by id; a sample that cannot be read is asked alone and named."""
    try:
        return {s.id: a.text for s, a in zip(samples, model(samples), strict=True)}  # type: ignore[operator]
    except SightguardError as error:
        if len(samples) == 1:
            print(f"  refused: {error}")
            return {}
        return {id: text for sample in samples for id, text in answer(model, [sample]).items()}


vlm = VLM.load(sys.argv[1] if len(sys.argv) > 1 else "pocket")
if len(sys.argv) == 1:
    sys.exit(print(__doc__))
guard = VlmGuard.fit(vlm, anchors())  # text only: 200 prompts, one batched pass
safe = steer(vlm, guard)
print(f"fitted at layers {list(guard.layers)} on {guard.directions.provenance['pairs']} pairs")
for name, samples in prompts(sys.argv[2:]):
    plain, guarded = answer(vlm, samples), answer(safe, samples)
    counts = Counter("changed" if guarded[id] != plain[id] else "unchanged" for id in guarded)
    print(f"{name}: {len(samples)} asked, {len(guarded)} answered, of these {dict(counts)} by the guard")
