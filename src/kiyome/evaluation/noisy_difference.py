"""How much better one model is than another in truth, when labels may be wrong. N rows, K classes."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.checks import Matrix, check_labels
from kiyome.estimates import Estimate, check_confidence, proportion
from kiyome.evaluation.metrics import mean_of_rows
from kiyome.evaluation.noisy_labels import Range, checked_matrix, true_shares


def noise_rate_from_pairs(
    num_differing: int, num_pairs: int, *, num_classes: int | None = None, confidence: float = 0.95
) -> Estimate:
    """The share of wrong labels that explains how many pairs of labels differ.

    Parameters
    ----------
    num_differing, num_pairs
        Of pairs of labels of the same photo, given without sight of each other, those that differ.
    num_classes
        K: errors are apart and fall on all classes alike. None: the least share, half of the pairs, whatever
        the errors are like, as in a pair that differs at least one label is wrong.
    confidence
        Of the interval: Wilson's of the share of pairs, carried over.

    Raises
    ------
    InputError
        Counts that cannot be.

    Notes
    -----
    With errors apart, pairs agree in (1 - e)^2 + e^2 / (K - 1). Where two people make the same mistake more
    often than that, as they do, more labels are wrong than either answer says. Not good for pairs that were
    put together, or checked, because their labels differ.

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
    most = (num_classes - 1) / num_classes  # share of differing pairs, and of wrong labels, of mere guesses
    return most * (1 - sqrt(max(1 - differing / most, 0)))


@dataclass(frozen=True, kw_only=True)
class DifferenceUnderNoise:
    """How much better the first model is than the second: as labels show it, and in truth."""

    on_given: Estimate
    bounds: Range
    """Of the true difference, whatever the mistakes are like; rows where both choose alike do not matter."""
    estimated_true_difference: Estimate
    """If models and labels err apart, given the true class; the interval is of chance alone, T as known."""
    shrinkage: float
    """By how much noise shrinks a true difference if errors are apart and fall on all classes alike."""


def difference_under_noise(
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    transition_matrix: ArrayLike,
    groups: ArrayLike | None = None,
    confidence: float = 0.95,
) -> DifferenceUnderNoise:
    """The difference of two models on given labels, and what it leaves open about the true one.

    Parameters
    ----------
    labels
        (N,) given labels, whole numbers from 0 to K-1.
    first, second
        (N,) classes that the two models choose.
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
    On people's labels (CIFAR-10N) true differences shrank to 0.56 to 0.77 of themselves at 9 % of wrong
    labels, where errors apart would leave 0.90, and to 0.21 to 0.41 at 40 % (0.55): people and models find
    the same photos hard. The estimate undoes only what errors apart would do.

    Examples
    --------
    >>> labels, T = np.arange(1000) % 2, np.array([[0.9, 0.1], [0.1, 0.9]])
    >>> found = difference_under_noise(labels, labels, np.where(np.arange(1000) < 40, 1 - labels, labels),
    ...                                transition_matrix=T)
    >>> round(found.on_given.value, 3), round(found.estimated_true_difference.value, 3), found.shrinkage
    (0.04, 0.05, 0.8)
    """
    check_confidence(confidence)
    T = checked_matrix(transition_matrix, len(np.asarray(transition_matrix)))
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
    """What is left of a true difference if wrong labels fall on all other classes alike: 1 - e K / (K - 1).

    >>> round(shrinkage(0.09, 10), 3)
    0.9
    """
    return 1 - noise_rate * num_classes / (num_classes - 1)


def _bounds_of_difference(seen: Matrix, differ: NDArray[np.bool_], noise_rate: float) -> Range:
    """Wrong labels where they change most: first on rows that one model gets, which then count twice."""
    N = len(seen)
    wrong, neither = noise_rate * N, float((differ & (seen == 0)).sum())

    def most(rows: float) -> float:
        return (2 * min(wrong, rows) + min(max(wrong - rows, 0.0), neither)) / N

    value = float(seen.mean())
    return Range(low=value - most(float((seen > 0).sum())), high=value + most(float((seen < 0).sum())))
