"""Exact and near duplicates between two sets of prompts, so that test prompts are shown to be fresh."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightguard.errors import UsageError
from sightguard.types import Sample

SHINGLE = 3
THRESHOLD = 0.8


class Duplicate(NamedTuple):
    """A prompt of the first set, the prompt of the second set that it repeats, and how alike they are (1 = exact)."""

    first: str
    second: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Overlap:
    """How many prompts of the first set have a duplicate in the second; each is counted once, as exact or as near."""

    exact: int
    near: int
    n_first: int
    n_second: int
    threshold: float
    examples: tuple[Duplicate, ...] = ()
    """By id, the most alike first; never the texts."""

    def counts(self) -> dict[str, int]:
        """Return the part that goes into `results.json`."""
        return {"exact": self.exact, "near": self.near}


def overlap(
    first: Sequence[Sample],
    second: Sequence[Sample],
    *,
    threshold: float = THRESHOLD,
    pictures: bool = True,
    examples: int = 20,
) -> Overlap:
    """Count the prompts of `first` (the test set) that come again, exactly or nearly, in `second` (fit, validation).

    Exact: the same roles, words and pictures; case, punctuation and spacing do not count. Near: the same pictures,
    and a Jaccard similarity of at least `threshold` between their runs of three words. The same text with another
    picture is another prompt, unless `pictures` is False: then only the texts are compared.

    Example:
        >>> tests = [Sample.of("How do I mend a lamp?", id="t1"), Sample.of("Where is the park?", id="t2")]
        >>> overlap(tests, [Sample.of("how do i mend a lamp", id="f1")]).counts()
        {'exact': 1, 'near': 0}

    Args:
        first: the prompts that must be fresh.
        second: the prompts that were already used.
        threshold: similarity from which a pair is a near duplicate; above 0, at most 1.
        pictures: whether a different picture makes a different prompt.
        examples: how many pairs to keep.
    """
    found = [match for match in closest(first, second, threshold=threshold, pictures=pictures) if match is not None]
    found.sort(key=lambda duplicate: -duplicate.similarity)
    exact = sum(duplicate.similarity == 1 for duplicate in found)
    return Overlap(exact, len(found) - exact, len(first), len(second), threshold, tuple(found[:examples]))


def closest(
    first: Sequence[Sample], second: Sequence[Sample], *, threshold: float = THRESHOLD, pictures: bool = True
) -> list[Duplicate | None]:
    """Return for each prompt of `first` the one of `second` that it repeats, or None; arguments as for `overlap`."""
    if not 0 < threshold <= 1:
        raise UsageError(f"expected a threshold above 0 and at most 1; got {threshold}")
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in second:
        groups[_pictures(sample) if pictures else ""].append(sample)
    indices = {key: _Index(members) for key, members in groups.items()}
    found = []
    for sample in first:
        index = indices.get(_pictures(sample) if pictures else "")
        match = None if index is None else index.closest(sample)
        found.append(match if match is not None and match.similarity >= threshold else None)
    return found


def normalise(sample: Sample) -> str:
    """Return the conversation in lower case words, with who says what; punctuation and spacing left out."""
    turns = (" ".join(re.findall(r"\w+", message.text.lower())) for message in sample.messages)
    return "\n".join(f"{message.role}: {turn}" for message, turn in zip(sample.messages, turns, strict=True))


class _Index:
    """Runs of words, each with the prompts that hold it: only prompts that share a run are ever compared."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._ids = [sample.id for sample in samples]
        self._exact: dict[str, int] = {}
        postings: dict[tuple[str, ...], list[int]] = defaultdict(list)
        sizes = []
        for number, sample in enumerate(samples):
            text = normalise(sample)
            self._exact.setdefault(text, number)
            runs = _shingles(text)
            sizes.append(len(runs))
            for run in runs:
                postings[run].append(number)
        self._sizes: NDArray[np.int64] = np.array(sizes, dtype=np.int64)
        self._postings = {run: np.array(numbers, dtype=np.int64) for run, numbers in postings.items()}

    def closest(self, sample: Sample) -> Duplicate:
        text = normalise(sample)
        if text in self._exact:
            return Duplicate(sample.id, self._ids[self._exact[text]], 1.0)
        runs = _shingles(text)
        hits = [self._postings[run] for run in runs if run in self._postings]
        if not hits:
            return Duplicate(sample.id, "", 0.0)
        shared = np.bincount(np.concatenate(hits), minlength=len(self._sizes))
        similarity = shared / (len(runs) + self._sizes - shared)
        best = int(similarity.argmax())
        # two texts can hold the same runs in another order: alike, but not the same prompt
        return Duplicate(sample.id, self._ids[best], min(float(similarity[best]), np.nextafter(1.0, 0.0).item()))


def _shingles(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    # a text shorter than one run is one run
    return {tuple(words[i : i + SHINGLE]) for i in range(max(1, len(words) - SHINGLE + 1))}


def _pictures(sample: Sample) -> str:
    return "\n".join(image.sha256 for image in sample.images)
