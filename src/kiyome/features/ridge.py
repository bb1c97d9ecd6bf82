"""Kernel ridge regression on likeness to landmarks (Nystrom). M landmarks, K classes.

Its sums over rows add up: those of a training part are the sums of its folds, and no fold is read twice.
Where every row is a landmark, the solution is kernel ridge regression itself.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kiyome.features.targets import counts_of, shares_of

Floats = NDArray[np.float32]

GRID = (0.3, 1.0, 3.0)
"""Ridge penalties; the likeness of a row to itself is 1."""

NUM_TRIAL_LANDMARKS = 2000
"""Of the first landmarks, on which penalties are tried: a factorization costs their number cubed."""

JITTER = 1e-7
"""Of the trace, added to the diagonal: photos that are alike in all would make the system singular."""
BLOCK = 16_384


class Sums(NamedTuple):
    """Weighted sums over rows: all that kernel ridge regression needs of them."""

    products: NDArray[np.float64]
    """(M, M) likeness times likeness."""
    by_class: NDArray[np.float64]
    """(M, K) likeness to each landmark of the rows of each class."""
    counts: NDArray[np.float64]
    """(K,) weight of each class."""

    def first(self, num_landmarks: int) -> "Sums":
        """Return the sums of the first landmarks only."""
        few = slice(num_landmarks)
        return Sums(self.products[few, few], self.by_class[few], self.counts)


def total(parts: Sequence[Sums]) -> Sums:
    """Return the sums over the rows of all parts."""
    return Sums(*(_sum(each) for each in zip(*parts, strict=True)))


def _sum(arrays: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the sum of the arrays, made in one place."""
    summed = arrays[0].copy()
    for each in arrays[1:]:
        summed += each
    return summed


def sums_of(
    likeness: Floats, rows: NDArray[np.intp], targets: NDArray[Any], weights: Floats, num_classes: int
) -> Sums:
    """Return the sums of these rows, of labels (N,) or shares (N, K), in double precision."""
    from scipy.sparse import csr_array

    num_landmarks = likeness.shape[1]
    products = np.zeros((num_landmarks, num_landmarks))
    by_class = np.zeros((num_landmarks, num_classes))
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        alike, weight = likeness[block], weights[block]
        shares = csr_array((weight[:, None] * shares_of(targets[block], num_classes)).T)
        by_class += (shares @ alike).T
        if (weight != 1).any():
            alike *= np.sqrt(weight)[:, None]
        products += alike.T @ alike
    return Sums(products, by_class, counts_of(targets[rows], weights[rows], num_classes))


class Ridge(NamedTuple):
    """Scores are likeness @ coefficients + shares: near a probability, sometimes below zero."""

    coefficients: Floats
    """(M, K)."""
    shares: Floats
    """(K,) of the classes in training."""


def solve(sums: Sums, penalty: float, between_landmarks: NDArray[np.float64]) -> Ridge:
    """Return the coefficients of least squared error on one-hot labels, with a penalty on the norm."""
    from scipy.linalg import cho_factor, cho_solve

    few = slice(len(sums.products))
    shares = sums.counts / sums.counts.sum()
    targets = sums.by_class - sums.by_class.sum(axis=1, keepdims=True) * shares
    system = penalty * between_landmarks[few, few]
    system += sums.products
    system[np.diag_indices_from(system)] += JITTER * np.trace(system)
    factor = cho_factor(system.T, lower=True, overwrite_a=True, check_finite=False)
    coefficients = cho_solve(factor, targets, check_finite=False)
    return Ridge(coefficients.astype(np.float32), shares.astype(np.float32))
