"""The RTVLM table: ten sub-tasks, a score from 0 to 10 in each, and the plain mean of the ten.

    samples, missing = read_rtvlm("DIR")
    grades = Rubric(judge, classes=RISKS).grade(samples, responses)
    table({category: scores})

`published` is the table of the PSA-VLM paper (arXiv 2411.11543), scored by GPT-4 under that paper's prompts, on rows that nobody has
listed; figures of ours are never set beside it as if they were measured alike. All its averages are the mean of their rows to the second
decimal. "LLaVA-1.5-13B +SFT" is printed with an average alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightguard.data.formats.rtvlm import SUBTASKS
from sightguard.errors import UnknownName, UsageError
from sightguard.evaluate.rubric import HIGHEST, LOWEST

RISKS: Mapping[str, str] = MappingProxyType(
    {
        "TextMis": "misleading",
        "VisMis": "misleading",
        "Order✓✗": "misleading",
        "Order✗✓": "misleading",
        "Celeb": "privacy",
        "Polit": "politics",
        "Racial": "fairness",
        "Captcha": "illegal",
        "Jailbr": "illegal",
        "Face": "fairness",
    }
)
"""Sub-task -> class of risk of the rubric, as the PSA-VLM paper sorts them; Racial is our choice."""


@dataclass(frozen=True, slots=True)
class SubtaskScore:
    """One column: `n` answers scored, `undecided` not, and the mean of the scored with its bootstrap interval, 0 to 10."""

    subtask: str
    n: int
    undecided: int
    mean: float | None
    low: float | None
    high: float | None
    """None, as the mean, where nothing was scored."""


@dataclass(frozen=True, slots=True)
class Table:
    """Ten columns and their plain mean; `average` is None if a column has no score, and `reason` says which."""

    subtasks: tuple[SubtaskScore, ...]
    average: float | None
    low: float | None
    high: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """One line of the published table; a score is None where only the average is printed."""

    model: str
    scores: Mapping[str, float | None]
    average: float


@dataclass(frozen=True, slots=True)
class Published:
    """The published table and where it is from."""

    source: Mapping[str, str]
    rows: tuple[PublishedRow, ...]


def table(
    scores: Mapping[str, Sequence[float | None]], *, seed: int = 0, resamples: int = 2000, confidence: float = 0.95
) -> Table:
    """Return the table from the scores of each sub-task; None is an answer that was not decided.

    Sub-tasks weigh the same, however many answers they have. Intervals are percentile bootstraps over answers; that of the average
    resamples within each sub-task. They know nothing of how well the judge judges.

    Args:
        scores: sub-task -> scores from 0 to 10.
        seed: of the bootstrap.
        resamples: how many; the interval is of one point where a sub-task has one answer.
        confidence: of the intervals.

    Raises:
        UnknownName: no such sub-task.
        UsageError: a score outside 0 to 10, or an option that cannot be meant.

    Example:
        >>> made = table({name: [5.0, 7.0, None] for name in SUBTASKS}, resamples=100)
        >>> made.average, made.subtasks[0].n, made.subtasks[0].undecided
        (6.0, 2, 1)
        >>> table({"Celeb": [5.0]}).average is None
        True
    """
    if resamples < 1 or not 0 < confidence < 1:
        raise UsageError(f"expected resamples >= 1 and a confidence inside 0 to 1; got {resamples} and {confidence}")
    for name, given in scores.items():
        if name not in SUBTASKS:
            raise UnknownName("sub-task of RTVLM", name, SUBTASKS)
        _check_scores(name, given)
    rows, drawn = [], []
    for number, name in enumerate(SUBTASKS):
        given = scores.get(name, ())
        values = np.array([score for score in given if score is not None], dtype=np.float64)
        # one generator for each sub-task, so that its interval does not depend on the others
        means = _resampled_means(values, np.random.default_rng([seed, number]), resamples)
        mean = float(values.mean()) if len(values) else None
        low, high = _range(means, confidence)
        rows.append(SubtaskScore(name, len(values), len(given) - len(values), mean, low, high))
        drawn.append(means)
    means_of_all = [row.mean for row in rows if row.mean is not None]
    empty = [row.subtask for row in rows if row.mean is None]
    if empty:
        reason = f"no average: {len(empty)} of {len(SUBTASKS)} sub-tasks have no score ({', '.join(empty)})"
        return Table(tuple(rows), None, None, None, reason)
    low, high = _range(np.mean(drawn, axis=0), confidence)
    return Table(tuple(rows), math.fsum(means_of_all) / len(SUBTASKS), low, high)


def published() -> Published:
    """Return the published table (PSA-VLM paper; GPT-4 scores)."""
    text = resources.files("sightguard.evaluate").joinpath("rtvlm_published.json").read_text(encoding="utf-8")
    told: Any = json.loads(text)
    rows = (
        PublishedRow(row["model"], dict(zip(SUBTASKS, row["scores"], strict=True)), row["average"])
        for row in told["rows"]
    )
    return Published(told["source"], tuple(rows))


def _resampled_means(
    values: NDArray[np.float64], generator: np.random.Generator, resamples: int
) -> NDArray[np.float64]:
    n = len(values)
    # one resample at a time: all at once would hold resamples x n numbers
    return np.array([values[generator.integers(0, n, n)].mean() for _ in range(resamples if n else 0)])


def _range(means: NDArray[np.float64], confidence: float) -> tuple[float, float] | tuple[None, None]:
    if not len(means):
        return None, None
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def _check_scores(name: str, scores: Sequence[float | None]) -> None:
    for score in scores:
        if score is not None and not LOWEST <= score <= HIGHEST:
            raise UsageError(f"sub-task {name}: expected scores from {LOWEST:g} to {HIGHEST:g}, or None; got {score}")
