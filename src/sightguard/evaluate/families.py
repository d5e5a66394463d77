"""Many tests at once: Holm's correction, and rates and differences over answers that are not independent of one another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from sightguard.errors import UsageError
from sightguard.evaluate.statistics import Estimate

RESAMPLES = 10_000
_AT_ONCE = 1_000


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values of a family after Holm's step-down correction (Scandinavian Journal of Statistics 6, 1979), in the same order.

    At any level, the chance of one or more false rejections in the whole family stays below that level, whatever depends on what.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    if any(not 0 <= p <= 1 for p in p_values):
        raise UsageError(f"expected p-values between 0 and 1; got {[p for p in p_values if not 0 <= p <= 1][:3]}")
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[at]))
        corrected[at] = highest
    return corrected


def clustered_rate(successes: Sequence[int], sizes: Sequence[int], *, confidence: float = 0.95) -> Estimate:
    """Return the pooled rate of answers that come in groups, with a Wilson interval that counts groups and not answers.

    Answers to one question under several attacks are not independent. The interval is Wilson's at the effective number `(sum m)^2 / sum m^2`
    of groups with m answers (Kish, Survey Sampling, 1965), which is what is known if the answers of a group always agree: it is never too
    narrow for their dependence. With one answer in each group it is `wilson`.

    Args:
        successes: of each group.
        sizes: answers in each group; groups of none are left out.
        confidence: of the interval, two-sided.

    Example:
        >>> value, low, high = clustered_rate([0, 5, 5, 0], [5, 5, 5, 5])
        >>> value, round(low, 2), round(high, 2)
        (0.5, 0.15, 0.85)
    """
    if len(successes) != len(sizes) or any(not 0 <= k <= m for k, m in zip(successes, sizes, strict=True)):
        raise UsageError("expected for each group its successes and its size, with 0 <= successes <= size")
    total = sum(sizes)
    if total < 1:
        raise UsageError("expected at least one answer; got none")
    if not 0 < confidence < 1:
        raise UsageError(f"expected a confidence between 0 and 1, such as 0.95; got {confidence}")
    n = total * total / sum(m * m for m in sizes)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate, shrink = sum(successes) / total, 1 + z * z / n
    centre = (rate + z * z / (2 * n)) / shrink
    half = z / shrink * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    low = 0.0 if rate == 0 else max(0.0, centre - half)
    return Estimate(rate, low, 1.0 if rate == 1 else min(1.0, centre + half))


def clustered_difference(
    differences: ArrayLike, sizes: ArrayLike, *, seed: int, resamples: int = RESAMPLES, confidence: float = 0.95
) -> Estimate:
    """Return the pooled mean of paired differences that come in groups, with the percentile interval of resampled groups.

    Each resample draws as many whole groups as there are, with replacement, and pools their answers. Groups of one sum and one size do the
    same to it, so how many of each kind are drawn is all that is drawn. With one answer in each group it is `paired_bootstrap`, but for the
    draws. Where no group differs the interval has no width.

    Args:
        differences: of each group, the sum over its answers of `first - second`.
        sizes: answers in each group, at least one.
        seed: of the draws; the same for the same numbers in any order.
        resamples: how many.
        confidence: of the interval, two-sided.

    Example:
        >>> value, low, high = clustered_difference([2, 0, 2, 0], [2, 2, 2, 2], seed=0)
        >>> value, low, high
        (0.5, 0.0, 1.0)
    """
    sums, counts = np.asarray(differences, dtype=np.float64), np.asarray(sizes, dtype=np.float64)
    if (
        sums.ndim != 1
        or sums.shape != counts.shape
        or not sums.size
        or (counts < 1).any()
        or (abs(sums) > counts).any()
    ):
        raise UsageError(
            f"expected for each group the sum of its differences and its size, at least 1 and the sum within it; got shapes {sums.shape} "
            f"and {counts.shape}"
        )
    if not 0 < confidence < 1:
        raise UsageError(f"expected a confidence between 0 and 1, such as 0.95; got {confidence}")
    kinds, times = np.unique(np.stack([sums, counts], axis=1), axis=0, return_counts=True)
    generator = np.random.default_rng(seed)
    means = []
    # all resamples at once would hold resamples x kinds numbers
    for start in range(0, resamples, _AT_ONCE):
        drawn = generator.multinomial(sums.size, times / sums.size, size=min(_AT_ONCE, resamples - start)) @ kinds
        means.append(drawn[:, 0] / drawn[:, 1])
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return Estimate(float(sums.sum() / counts.sum()), float(low), float(high))
