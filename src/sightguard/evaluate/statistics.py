"""Intervals, paired tests and separability, in numpy and the standard library alone.

Every rate is printed with an interval (`wilson`), every difference between two conditions on the same prompts is paired
(`mcnemar`, `paired_bootstrap`), and a bound that is promised is exact (`clopper_pearson_upper`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sightguard.errors import UsageError

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """A range that holds the true value with the stated confidence."""

    low: float
    high: float


class Estimate(NamedTuple):
    """A value with its interval."""

    value: float
    low: float
    high: float


def wilson(successes: int, n: int, *, confidence: float = 0.95) -> Interval:
    """Return the Wilson score interval of a rate; it stays inside 0 to 1 and is honest at 0 and at n.

    Example:
        >>> low, high = wilson(0, 300)
        >>> round(low, 4), round(high, 4)
        (0.0, 0.0126)
    """
    _check_count(successes, n)
    z = NormalDist().inv_cdf(0.5 + _check_confidence(confidence) / 2)
    rate, shrink = successes / n, 1 + z * z / n
    centre = (rate + z * z / (2 * n)) / shrink
    half = z / shrink * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # at the ends the formula is exact but its rounding is not
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    return Interval(low, 1.0 if successes == n else min(1.0, centre + half))


def clopper_pearson_upper(successes: int, n: int, *, confidence: float = 0.95) -> float:
    """Return the exact one-sided upper bound of a rate: the largest rate that the count does not exclude.

    Example:
        >>> round(clopper_pearson_upper(0, 300), 4)      # the rule of three: about 3 / n
        0.0099
    """
    _check_count(successes, n)
    if successes == n:
        return 1.0
    tail = 1 - _check_confidence(confidence)
    low, high = successes / n, 1.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _binomial_cdf(successes, n, middle) > tail else (low, middle)
    return high


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Return the exact two-sided McNemar p-value for two outcomes on the same prompts.

    Only the prompts on which the two differ count; with none, p is 1.

    Example:
        >>> mcnemar([True] * 6, [False] * 6)
        0.03125
    """
    pairs = [(bool(a), bool(b)) for a, b in _pairs(first, second)]
    return mcnemar_of_counts(pairs.count((True, False)), pairs.count((False, True)))


def mcnemar_of_counts(only_first: int, only_second: int) -> float:
    """Return what `mcnemar` does from the numbers of prompts on which one outcome holds and the other does not.

    Example:
        >>> mcnemar_of_counts(6, 0)
        0.03125
    """
    if min(only_first, only_second) < 0:
        raise UsageError(f"expected two counts of prompts; got only_first={only_first}, only_second={only_second}")
    differing = only_first + only_second
    fewer = ways = 1
    for k in range(min(only_first, only_second)):
        # from one number of ways to the next: each anew takes minutes where thousands differ
        ways = ways * (differing - k) // (k + 1)
        fewer += ways
    # integers of any size divide exactly, where 0.5 ** differing would underflow
    return min(1.0, float(2 * fewer / 2**differing))


def paired_bootstrap(
    first: Sequence[float], second: Sequence[float], *, seed: int, resamples: int = 10_000, confidence: float = 0.95
) -> Estimate:
    """Return the mean of `first - second` over the same prompts, with the percentile interval of resampled prompts.

    Example:
        >>> paired_bootstrap([1, 1, 1, 1], [0, 0, 0, 0], seed=0)
        Estimate(value=1.0, low=1.0, high=1.0)
    """
    differences = np.array([a - b for a, b in _pairs(first, second)], dtype=np.float64)
    generator = np.random.default_rng(seed)
    n = len(differences)
    # one resample at a time: ten thousand at once would hold resamples x n numbers
    means = [float(differences[generator.integers(0, n, n)].mean()) for _ in range(resamples)]
    tail = (1 - _check_confidence(confidence)) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Estimate(float(differences.mean()), float(low), float(high))


def auroc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Return the chance that a random positive scores higher than a random negative; ties count half.

    Example:
        >>> auroc([0.1, 0.4, 0.35, 0.8], [False, False, True, True])
        0.75
    """
    values, labels = _scored(scores, positive)
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positives = int(labels.sum())
    negatives = len(labels) - positives
    return float((ranks[labels].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def balanced_accuracy(scores: ArrayLike, positive: ArrayLike, *, threshold: float) -> float:
    """Return the mean of the two class accuracies when a score at or above `threshold` is called positive.

    Example:
        >>> balanced_accuracy([0.1, 0.4, 0.35, 0.8], [False, False, True, True], threshold=0.375)
        0.5
    """
    values, labels = _scored(scores, positive)
    called = values >= threshold
    return float((called[labels].mean() + (~called[~labels]).mean()) / 2)


def _binomial_cdf(successes: int, n: int, rate: float) -> float:
    """Return P(X <= successes) for a binomial count, summed in logarithms so that no term underflows early."""
    if rate >= 1:
        return float(successes >= n)
    whole = math.lgamma(n + 1)
    return math.fsum(
        math.exp(whole - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(rate) + (n - k) * math.log1p(-rate))
        for k in range(successes + 1)
    )


def _pairs(first: Sequence[float], second: Sequence[float]) -> zip[tuple[float, float]]:
    if len(first) != len(second) or not first:
        raise UsageError(
            f"expected two outcomes for each of the same prompts; got {len(first)} and {len(second)}. "
            "Pair them by sample id first."
        )
    return zip(first, second, strict=True)


def _scored(scores: ArrayLike, positive: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    values = np.asarray(scores, dtype=np.float64)
    labels = np.asarray(positive, dtype=bool)
    if values.shape != labels.shape or values.ndim != 1:
        raise UsageError(f"expected one label for each score; got shapes {values.shape} and {labels.shape}")
    if labels.all() or not labels.any():
        raise UsageError(f"expected scores of both classes; got {int(labels.sum())} positive of {len(labels)}")
    if np.isnan(values).any():
        raise UsageError(f"expected numbers as scores; {int(np.isnan(values).sum())} of {len(values)} are NaN")
    return values, labels


def _check_count(successes: int, n: int) -> None:
    if not 0 <= successes <= n or n < 1:
        raise UsageError(f"expected 0 <= successes <= n and n >= 1; got successes={successes}, n={n}")


def _check_confidence(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise UsageError(f"expected a confidence between 0 and 1, such as 0.95; got {confidence}")
    return confidence
