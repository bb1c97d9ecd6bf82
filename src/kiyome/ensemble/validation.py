"""Checks of members and folds, and functions of probabilities. N rows, K classes, M members, F folds."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.artifacts.predictions import floored_log
from kiyome.checks import check_labels, check_pred_probs, check_rows
from kiyome.errors import InputError

Probs = NDArray[np.float64]
Labels = NDArray[np.intp]
Mask = NDArray[np.bool_]
Folds = NDArray[Any]


def check_members(members: Sequence[ArrayLike]) -> Probs:
    """Return the members' probabilities as one array (M, N, K), each row exactly a distribution.

    >>> check_members([[[0.9, 0.1]], [[0.6, 0.4]]]).shape
    (2, 1, 2)
    """
    arrays = [check_pred_probs(member) for member in members]
    if not arrays or len({array.shape for array in arrays}) != 1:
        raise InputError(
            f"The members have shapes {[array.shape for array in arrays]}.",
            expected="Expected one or more arrays of the same shape (N, K).",
            remedy="Pass predictions for the same rows and classes, in the same order.",
        )
    for array in arrays:
        check_rows(array)
    stacked = np.array(arrays, dtype=np.float64)
    stacked /= stacked.sum(axis=2, keepdims=True)
    return stacked


def check_one(pred_probs: ArrayLike) -> Probs:
    """Return one member's probabilities (N, K), each row exactly a distribution."""
    one: Probs = check_members([pred_probs])[0]
    return one


def check_given(labels: ArrayLike, num_rows: int, num_classes: int) -> Labels:
    """Return given labels (N,) that fit the members."""
    return check_labels(labels, num_rows=num_rows, num_classes=num_classes)


def check_folds(folds: ArrayLike, num_rows: int, *, at_least: int = 2) -> Folds:
    """Return folds (N,) of whole numbers, at least so many of them.

    >>> check_folds([0, 0], 2)
    Traceback (most recent call last):
        ...
    kiyome.errors.InputError: The number of folds is 1. Expected 2 or more. Split the rows into more folds.
    """
    fold_of_row = np.asarray(folds)
    if fold_of_row.shape != (num_rows,) or fold_of_row.dtype.kind not in "iu":
        raise InputError(
            f"folds have shape {fold_of_row.shape} of {fold_of_row.dtype}.",
            expected=f"Expected one whole number for each of {num_rows} rows.",
            remedy="Pass the folds that the members were trained on.",
        )
    num_folds = len(np.unique(fold_of_row))
    if num_folds < at_least:
        raise InputError(
            f"The number of folds is {num_folds}.",
            expected=f"Expected {at_least} or more.",
            remedy="Split the rows into more folds.",
        )
    return fold_of_row


def held_out(folds: Folds) -> Iterator[tuple[int, Mask]]:
    """Yield each fold and the mask (N,) of its rows.

    >>> [(fold, held.tolist()) for fold, held in held_out(np.array([0, 1, 0]))]
    [(0, [True, False, True]), (1, [False, True, False])]
    """
    return ((int(fold), folds == fold) for fold in np.unique(folds))


def normalized(masses: Probs) -> Probs:
    """Return rows divided by their sums.

    >>> normalized(np.array([[1.0, 3.0]]))
    array([[0.25, 0.75]])
    """
    rows: Probs = masses / masses.sum(axis=-1, keepdims=True)
    return rows


def softmax(scores: Probs) -> Probs:
    """Return rows of scores as probabilities.

    >>> softmax(np.log([[1.0, 3.0]]))
    array([[0.25, 0.75]])
    """
    return normalized(np.exp(scores - scores.max(axis=-1, keepdims=True)))


def log_loss(labels: Labels, pred_probs: Probs) -> float:
    """Return the mean of minus the logarithm of each label's probability.

    >>> round(log_loss(np.array([1]), np.array([[0.5, 0.5]])), 4)
    0.6931
    """
    return float(-floored_log(pred_probs[np.arange(len(labels)), labels]).mean())
