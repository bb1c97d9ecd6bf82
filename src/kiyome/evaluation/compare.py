"""Paired comparison of two models on the same rows: on given labels, and under label noise. N rows.

b rows are right by the first model alone, c rows by the second alone.

    difference  (b - c) / N      its interval by Tango's score test, or by a bootstrap over groups
    p value     exact McNemar    of b against c, as of a fair coin
    verdict     better, worse    where both agree; else "cannot tell", with the rows that would be needed
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.checks import Matrix, check_labels
from kiyome.errors import InputError
from kiyome.estimates import Estimate, bootstrap_interval, check_confidence, group_numbers, proportion
from kiyome.evaluation.metrics import mean_of_rows
from kiyome.evaluation.noisy_labels import Range, check_matrix, true_shares

Verdict = Literal["better", "worse", "cannot tell"]

POWER = 0.8  # probability to detect a true difference of the observed size in `rows_needed` rows
BISECTIONS = 60  # halvings of an interval of width 2: below the last digit of a double


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The first model against the second, row by row."""

    difference: Estimate
    """Share of rows that the first gets right less the share that the second gets right."""
    only_first: int
    """b, rows that the first alone gets right."""
    only_second: int
    """c, rows that the second alone gets right."""
    p_value: float
    """Of McNemar's exact test, two-sided; it takes rows as independent."""
    confidence: float

    @property
    def verdict(self) -> Verdict:
        """The first model is better or worse where interval and exact test agree on it."""
        surely = self.p_value < 1 - self.confidence
        if surely and self.difference.low > 0:
            return "better"
        return "worse" if surely and self.difference.high < 0 else "cannot tell"

    @property
    def rows_needed(self) -> int | None:
        """Rows that detect a difference of this size four times in five; None where there is none."""
        seen = self.difference
        if seen.value == 0:
            return None
        differing = (self.only_first + self.only_second) / seen.num_rows
        return rows_to_detect(seen.value, differing, confidence=self.confidence)

    def describe(self) -> str:
        """Return the verdict in words, in percentage points.

        >>> compare(np.repeat([True, False], [80, 20]), np.repeat([True, False], [78, 22])).describe()
        'cannot tell: +2.00 points (-1.77 to +7.00, n = 100); about 390 rows would be needed'
        """
        points = [100 * x for x in (self.difference.value, self.difference.low, self.difference.high)]
        seen = "{:+.2f} points ({:+.2f} to {:+.2f}".format(*points) + f", n = {self.difference.num_rows:,})"
        if self.verdict != "cannot tell" or self.rows_needed is None:
            return f"{self.verdict}: {seen}"
        return f"{self.verdict}: {seen}; {about(self.rows_needed)} rows would be needed"


def compare(
    first: ArrayLike,
    second: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare two models row by row, from the rows that each gets right.

    Parameters
    ----------
    first, second
        (N,) true where the model is right, of the same rows in the same order.
    groups
        (N,) rows with the same value belong together (a plant, a patient) and are drawn together; an empty
        text is a group of its own. The interval then comes from a bootstrap over groups.
    confidence
        Of the interval and the verdict.
    seed
        Of the bootstrap.

    Raises
    ------
    InputError
        Arrays of other shapes or types.

    Notes
    -----
    Tango (1998), Statistics in Medicine 17, 891-908, for the interval: it covers for few differing rows,
    where the normal one does not. McNemar (1947), Psychometrika 12, 153-157, with the exact binomial. Not
    good for: choosing the best of many by its verdict against each, nor scores on rows that a cleaning chose.

    Examples
    --------
    >>> first, second = np.ones(200, bool), np.arange(200) >= 12
    >>> compared = compare(first, second)
    >>> compared.verdict, compared.only_first, compared.only_second
    ('better', 12, 0)
    """
    a, b = _right(first, "first"), _right(second, "second")
    if a.shape != b.shape:
        raise InputError(
            f"The models have {len(a)} and {len(b)} rows.",
            expected="Expected the same rows of both.",
            remedy="Compare runs on one table.",
        )
    check_confidence(confidence)
    only_first, only_second = int((a & ~b).sum()), int((b & ~a).sum())
    if groups is None:
        low, high = score_interval(only_first, only_second, len(a), confidence)
    else:
        low, high = bootstrap_interval(
            a.astype(float) - b, group_numbers(groups, len(a)), confidence=confidence, seed=seed
        )
    return Comparison(
        difference=Estimate(value=(only_first - only_second) / len(a), low=low, high=high, num_rows=len(a)),
        only_first=only_first,
        only_second=only_second,
        p_value=_exact_mcnemar(only_first, only_second),
        confidence=confidence,
    )


def rows_to_detect(
    difference: float, differing: float, *, shrinkage: float = 1.0, confidence: float = 0.95
) -> int:
    """Return the number of rows that detect a true difference of two models four times in five.

    `differing` is the share of rows that only one of them gets right, `shrinkage` the factor by which label
    noise shrinks a difference. Connor (1987), Biometrics 43, 207-211.

    >>> rows_to_detect(0.005, 0.04), rows_to_detect(0.005, 0.04, shrinkage=0.65)
    (12556, 29722)
    """
    d = abs(difference) * shrinkage
    if not 0 < d <= differing <= 1:
        raise InputError(
            f"difference={difference}, shrinkage={shrinkage}, differing={differing} do not fit each other.",
            expected="Expected a difference that is not 0 and at most differing, which is at most 1.",
            remedy="Correct the number.",
        )
    normal = NormalDist()
    z, power = normal.inv_cdf((1 + confidence) / 2), normal.inv_cdf(POWER)
    return int(np.ceil((z * sqrt(differing) + power * sqrt(max(differing - d * d, 0))) ** 2 / d**2))


def about(count: int) -> str:
    """Return a count in words, to two significant digits.

    >>> about(391), about(123_456), about(7)
    ('about 390', 'about 120,000', 'about 7')
    """
    step = 10 ** max(len(str(count)) - 2, 0)
    return f"about {round(count / step) * step:,}"


def score_interval(only_first: int, only_second: int, rows: int, confidence: float) -> tuple[float, float]:
    """Return Tango's interval of the paired difference (b - c) / N.

    >>> low, high = score_interval(14, 1, 54, 0.95)
    >>> round(low, 3), round(high, 3)
    (0.118, 0.376)
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)

    def statistic(d: float) -> float:
        linear = -only_first - only_second + (2 * rows - only_first + only_second) * d
        root = sqrt(max(linear**2 + 8 * rows * only_second * d * (1 - d), 0))
        share = (root - linear) / (4 * rows)  # of rows that the second alone gets right, if d is true
        variance = max(rows * (2 * share + d * (1 - d)), 1e-300)
        return (only_first - only_second - rows * d) / sqrt(variance)

    seen = (only_first - only_second) / rows
    return _falls_below(statistic, z, -1.0, seen), _falls_below(statistic, -z, seen, 1.0)


def _falls_below(statistic: Callable[[float], float], bar: float, low: float, high: float) -> float:
    """Return the point where the falling statistic crosses the bar."""
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if statistic(middle) > bar else (low, middle)
    return (low + high) / 2


def _exact_mcnemar(only_first: int, only_second: int) -> float:
    """Return the p-value of the two-sided binomial test of one half."""
    from scipy.special import betainc  # scipy.stats takes a third of a second to import

    fewer, more = sorted((only_first, only_second))
    return 1.0 if fewer == more else min(1.0, 2 * float(betainc(more, fewer + 1, 0.5)))


def _right(values: ArrayLike, name: str) -> NDArray[np.bool_]:
    right = np.asarray(values)
    if right.ndim != 1 or len(right) == 0 or right.dtype != np.bool_:
        raise InputError(
            f"{name} has shape {right.shape} of {right.dtype}.",
            expected="Expected (N,) of bool: whether the model is right on each row, at least one.",
            remedy="Pass pred_probs.argmax(axis=1) == labels.",
        )
    return right


@dataclass(frozen=True, kw_only=True)
class DifferenceUnderNoise:
    """Difference of two models' accuracies: on given labels, and what follows about true labels."""

    on_given: Estimate
    bounds: Range
    """Of the true difference with no assumption; rows where both models agree do not matter."""
    estimated_true_difference: Estimate
    """If model and label errors are independent given the true class; sampling error only, T as known."""
    shrinkage: float
    """Factor by which noise shrinks a true difference if errors are independent and uniform over classes."""


def difference_under_noise(
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    transition_matrix: ArrayLike,
    groups: ArrayLike | None = None,
    confidence: float = 0.95,
) -> DifferenceUnderNoise:
    """Return the difference of two models on given labels, and what follows about the true one.

    Parameters
    ----------
    labels
        (N,) given labels, whole numbers from 0 to K-1.
    first, second
        (N,) predicted classes of the two models.
    transition_matrix
        (K, K) [true, given], known or estimated.
    groups, confidence
        As for `accuracy_under_noise`.

    Raises
    ------
    InputError
        Arrays of other shapes, or a matrix whose rows do not sum to one.

    Notes
    -----
    On human labels (CIFAR-10N) true differences shrank to 0.56 to 0.77 of themselves at 9 % of wrong labels,
    where independent errors would leave 0.90, and to 0.21 to 0.41 at 40 % (0.55): people and models find the
    same photos hard. The estimate undoes only the effect of independent errors.

    Examples
    --------
    >>> labels, T = np.arange(1000) % 2, np.array([[0.9, 0.1], [0.1, 0.9]])
    >>> found = difference_under_noise(labels, labels, np.where(np.arange(1000) < 40, 1 - labels, labels),
    ...                                transition_matrix=T)
    >>> round(found.on_given.value, 3), round(found.estimated_true_difference.value, 3), found.shrinkage
    (0.04, 0.05, 0.8)
    """
    check_confidence(confidence)
    T = check_matrix(transition_matrix, len(np.asarray(transition_matrix)))
    K, N = len(T), len(np.asarray(labels))
    given, one, two = (check_labels(each, num_rows=N, num_classes=K) for each in (labels, first, second))
    inverse, e = np.linalg.pinv(T), 1 - float(true_shares(given, T) @ np.diag(T))
    seen = (one == given).astype(float) - (two == given)
    undone = inverse[given, one] - inverse[given, two]
    return DifferenceUnderNoise(
        on_given=mean_of_rows(seen, groups=groups, confidence=confidence),
        bounds=_bounds_of_difference(seen, one != two, e),
        estimated_true_difference=mean_of_rows(undone, groups=groups, confidence=confidence),
        shrinkage=shrinkage(e, K),
    )


def shrinkage(noise_rate: float, num_classes: int) -> float:
    """Return the factor on true differences if wrong labels are uniform over classes: 1 - e K / (K - 1).

    >>> round(shrinkage(0.09, 10), 3)
    0.9
    """
    return 1 - noise_rate * num_classes / (num_classes - 1)


def _bounds_of_difference(seen: Matrix, differ: NDArray[np.bool_], noise_rate: float) -> Range:
    """Return the range with wrong labels where they change most: rows that one model gets count twice."""
    N = len(seen)
    wrong, neither = noise_rate * N, float((differ & (seen == 0)).sum())

    def most(rows: float) -> float:
        return (2 * min(wrong, rows) + min(max(wrong - rows, 0.0), neither)) / N

    value = float(seen.mean())
    return Range(low=value - most(float((seen > 0).sum())), high=value + most(float((seen < 0).sum())))


def noise_rate_from_pairs(
    num_differing: int, num_pairs: int, *, num_classes: int | None = None, confidence: float = 0.95
) -> Estimate:
    """Return the share of wrong labels that explains how many pairs of labels differ.

    Parameters
    ----------
    num_differing, num_pairs
        Pairs of independent labels of the same photo, and those that differ.
    num_classes
        K: errors are independent and uniform over classes. None: half of the differing pairs, the least share
        for any errors, as in a pair that differs at least one label is wrong.
    confidence
        Of Wilson's interval of the share of pairs, transformed.

    Raises
    ------
    InputError
        Impossible counts.

    Notes
    -----
    With independent errors, pairs agree in (1 - e)^2 + e^2 / (K - 1). Where two people make the same mistake
    more often than that, as they do, more labels are wrong than either estimate. Not good for pairs that were
    selected, or checked, because their labels differ.

    Examples
    --------
    >>> noise_rate_from_pairs(68, 662).as_percent()
    '5.1 % (4.1 to 6.4 %, n = 662)'
    >>> noise_rate_from_pairs(68, 662, num_classes=5).as_percent()
    '5.3 % (4.2 to 6.7 %, n = 662)'
    """
    differing = proportion(num_differing, num_pairs, confidence=confidence)
    value, low, high = (
        _wrong(each, num_classes) for each in (differing.value, differing.low, differing.high)
    )
    return Estimate(value=value, low=low, high=high, num_rows=num_pairs)


def _wrong(differing: float, num_classes: int | None) -> float:
    if num_classes is None:
        return differing / 2
    most = (num_classes - 1) / num_classes  # differing pairs, and wrong labels, of random labels
    return most * (1 - sqrt(max(1 - differing / most, 0)))
