import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.proportion import proportion_confint

from sightguard.errors import UsageError
from sightguard.evaluate.statistics import (
    auroc,
    balanced_accuracy,
    clopper_pearson_upper,
    mcnemar,
    paired_bootstrap,
    wilson,
)

COUNTS = [(0, 1), (1, 1), (0, 300), (1, 300), (162, 300), (299, 300), (300, 300), (7, 10_000)]


@pytest.mark.parametrize(("successes", "n"), COUNTS)
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_wilson_equals_statsmodels(successes: int, n: int, confidence: float) -> None:
    expected = proportion_confint(successes, n, alpha=1 - confidence, method="wilson")
    assert wilson(successes, n, confidence=confidence) == pytest.approx(expected, abs=1e-12)


@given(n=st.integers(1, 5000), share=st.floats(0, 1), confidence=st.floats(0.01, 0.999))
def test_wilson_holds_the_rate_and_stays_inside(n: int, share: float, confidence: float) -> None:
    successes = round(share * n)
    low, high = wilson(successes, n, confidence=confidence)
    assert 0 <= low <= successes / n <= high <= 1


@pytest.mark.parametrize(("successes", "n"), COUNTS)
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_clopper_pearson_upper_equals_scipy(successes: int, n: int, confidence: float) -> None:
    expected = binomtest(successes, n, alternative="less").proportion_ci(confidence, method="exact").high
    assert clopper_pearson_upper(successes, n, confidence=confidence) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("only_first", "only_second", "both"), [(0, 0, 3), (1, 0, 0), (6, 0, 4), (10, 3, 5), (8, 8, 1), (1500, 1400, 9)]
)
def test_mcnemar_equals_statsmodels(only_first: int, only_second: int, both: int) -> None:
    first = [True] * only_first + [False] * only_second + [True] * both
    second = [False] * only_first + [True] * only_second + [True] * both
    table = [[both, only_first], [only_second, 0]]
    # statsmodels has no answer where nothing differs
    expected = statsmodels_mcnemar(table, exact=True).pvalue if only_first + only_second else 1.0
    assert mcnemar(first, second) == pytest.approx(min(1.0, expected), rel=1e-9)


def test_mcnemar_by_hand() -> None:
    # 5 against 1: 2 (1 + 6) / 2^6
    assert mcnemar([True] * 5 + [False], [False] * 5 + [True]) == 14 / 64


def test_paired_bootstrap_agrees_with_the_normal_interval_of_the_paired_difference() -> None:
    draws = np.random.default_rng(3)
    first = draws.random(400) < 0.6
    second = first & (draws.random(400) < 0.5)
    difference = first.astype(float) - second
    estimate = paired_bootstrap(first.tolist(), second.tolist(), seed=0, resamples=4000)
    half = 1.96 * difference.std() / math.sqrt(400)
    assert estimate.value == pytest.approx(difference.mean())
    assert estimate.low == pytest.approx(difference.mean() - half, abs=0.005)
    assert estimate.high == pytest.approx(difference.mean() + half, abs=0.005)


def test_paired_bootstrap_is_paired_and_seeded() -> None:
    first, second = [1.0, 5.0, 9.0], [0.0, 4.0, 8.0]
    assert paired_bootstrap(first, second, seed=0, resamples=50) == (1.0, 1.0, 1.0)
    noisy = [1.0, 0.0, 4.0, 2.0]
    runs = [paired_bootstrap(noisy, [0.0] * 4, seed=seed, resamples=200) for seed in (5, 5, 6)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


@settings(deadline=None)
@given(
    scores=st.lists(st.integers(-5, 5), min_size=2, max_size=60),
    data=st.data(),
)
def test_auroc_equals_sklearn_with_ties(scores: list[int], data: st.DataObject) -> None:
    labels = data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))
    labels[:2] = [True, False]
    assert auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))
    called = [score >= 1 for score in scores]
    assert balanced_accuracy(scores, labels, threshold=1) == pytest.approx(balanced_accuracy_score(labels, called))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wilson(3, 2), "successes=3, n=2"),
        (lambda: wilson(0, 0), "n >= 1"),
        (lambda: wilson(1, 2, confidence=95), "between 0 and 1"),
        (lambda: clopper_pearson_upper(-1, 2), "successes=-1"),
        (lambda: mcnemar([True], [True, False]), "got 1 and 2"),
        (lambda: mcnemar([], []), "got 0 and 0"),
        (lambda: auroc([1.0, 2.0], [True, True]), "both classes; got 2 positive of 2"),
        (lambda: auroc([1.0, 2.0], [True]), r"shapes \(2,\) and \(1,\)"),
        (lambda: balanced_accuracy([math.nan, 2.0], [True, False], threshold=0), "1 of 2 are NaN"),
    ],
)
def test_wrong_arguments_are_named(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(UsageError, match=message):
        call()
