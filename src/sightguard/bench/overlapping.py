"""Whether a run asks what its defenses were fitted or chosen on: told before anything is asked.

Questions are compared as they are before an attack, since a picture or a wrapper around a known question makes no other question of it:
once with the pictures that belong to them and once by their words alone. What a defense was fitted on is compared with what it was
chosen on as well, each defense by itself. Where it is not known what a defense has seen, that is said instead of a figure.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sightguard.bench.plan import Plan
from sightguard.bench.used import Used
from sightguard.evaluate.overlap import closest
from sightguard.evaluate.rows import digest
from sightguard.types import Sample

COUNTS = ("exact", "near", "text_exact", "text_near")
Alike = Mapping[str, tuple[float, float]]
"""By the digest of a question: how alike the closest one is, with pictures and by words alone; 0 is another question."""

_log = logging.getLogger(__name__)


def check_overlap(asked: Plan, defenses: Mapping[str, Used]) -> dict[str, Any]:
    """Return what `measured.json` says of overlap, and warn at once where there is any; the texts are in neither.

    Counts are of distinct questions; `text_` counts by words alone. They are None where nothing is known to compare with and something
    is not known.

    Args:
        asked: what is asked, with each question as it is before attacks.
        defenses: what each has seen.
    """
    questions = {digest(sample): sample for one in asked.asked for sample in one.plain}
    unknown = [name for name, seen in defenses.items() if not seen.known]
    alike = {name: _alike(questions, seen.all) for name, seen in defenses.items() if seen.all}
    together = {key: _most([found[key] for found in alike.values()]) for key in questions}
    nothing = bool(unknown) and not alike
    told = {
        **(dict.fromkeys(COUNTS) if nothing else _counts(together)),
        "n": len(questions),
        "not_known": unknown,
        "by_defense": {
            name: _of_one(seen, alike.get(name), asked) for name, seen in defenses.items() if seen.all or not seen.known
        },
    }
    for sentence in warnings(told):
        _log.warning("%s", sentence)
    return told


def warnings(told: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each defense that is asked what it has seen, and each that was chosen on what it was fitted on."""
    for name, one in told["by_defense"].items():
        if one["exact"] or one["near"]:
            yield (
                f"overlap: of {told['n']} questions, {name} was fitted or chosen on {one['exact']}, and on {one['near']} nearly as they are: "
                "its figures there flatter"
            )
        elif one["text_exact"] or one["text_near"]:
            yield (
                f"overlap: of {told['n']} questions, {name} was fitted or chosen on the words of {one['text_exact']}, and on those of "
                f"{one['text_near']} nearly as they are, beside other pictures or none"
            )
        between = one["fit_calibration"]
        if between and any(between.values()):
            yield (
                f"overlap: of {one['calibration']} prompts that {name} was chosen on, it was fitted on {between['exact']}, and on "
                f"{between['near']} nearly as they are; by their words alone {between['text_exact']} and {between['text_near']}"
            )


def _of_one(seen: Used, alike: Alike | None, asked: Plan) -> dict[str, Any]:
    both = bool(seen.fit and seen.calibration)
    between = _alike({digest(sample): sample for sample in seen.calibration}, seen.fit) if both else None
    counts = dict.fromkeys(COUNTS) if alike is None else _counts(alike)
    return {
        "known": seen.known,
        "fit": len(seen.fit) if seen.known else None,
        "calibration": len(seen.calibration) if seen.known else None,
        **counts,
        "fit_calibration": None if between is None else _counts(between),
        "settings": {} if alike is None else dict(_by_setting(asked, alike)),
    }


def _by_setting(asked: Plan, alike: Alike) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield the settings that ask something again, with their counts."""
    for one in asked.asked:
        counts = _counts({key: alike[key] for key in map(digest, one.plain)})
        if any(counts.values()):
            yield one.setting.name, counts


def _alike(questions: Mapping[str, Sample], seen: Sequence[Sample]) -> dict[str, tuple[float, float]]:
    asked = list(questions.values())
    with_pictures, words = (closest(asked, seen, pictures=pictures) for pictures in (True, False))
    values = [
        tuple(0.0 if match is None else match.similarity for match in pair)
        for pair in zip(with_pictures, words, strict=True)
    ]
    return {key: (first, second) for key, (first, second) in zip(questions, values, strict=True)}


def _most(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return max((pair[0] for pair in pairs), default=0.0), max((pair[1] for pair in pairs), default=0.0)


def _counts(alike: Alike) -> dict[str, int]:
    sides = list(zip(*alike.values(), strict=True)) or [(), ()]
    counts = [(sum(value == 1 for value in side), sum(0 < value < 1 for value in side)) for side in sides]
    return dict(zip(COUNTS, (*counts[0], *counts[1]), strict=True))
