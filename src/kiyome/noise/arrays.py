"""The one place that checks labels, pred_probs and names of methods. N rows, K classes.

Every public function of this room calls `check_arrays` once and trusts its arrays from there on.
"""

from collections.abc import Iterator
from numbers import Integral
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.errors import InputError

Labels = NDArray[np.intp]
Mask = NDArray[np.bool_]
Matrix = NDArray[np.float64]
Numbers = NDArray[Any]
Choice = TypeVar("Choice")

# how far a row's sum may be from one: half precision loses three digits
SUM_TOLERANCE = {np.dtype(np.float16): 1e-2, np.dtype(np.float32): 1e-3, np.dtype(np.float64): 1e-3}

BLOCK_ENTRIES = 2**17  # a block of rows that stays in the processor's cache


def check_arrays(labels: ArrayLike, pred_probs: ArrayLike) -> tuple[Labels, Numbers]:
    """Labels as machine integers (N,) and pred_probs (N, K) as they came, once both are sound.

    Parameters
    ----------
    labels
        N whole numbers from 0 to K-1, of any integer type.
    pred_probs
        (N, K) probabilities in float16, float32 or float64, K at least 2. They are never copied, nor
        converted; a row may miss a sum of one by 0.001 (float16: by 0.01).

    Raises
    ------
    InputError
        Wrong shapes, types or lengths, no rows, fewer than two classes; or a row that breaks a rule: the
        message names the first such row.

    Examples
    --------
    >>> check_arrays([0, 1], [[0.9, 0.1], [0.2, 0.9]])
    Traceback (most recent call last):
        ...
    kiyome.errors.InputError: Rows of pred_probs sum to one. Came: a sum of 1.1 in row 1. \
Divide each row by its sum; for scores that are not probabilities, take a softmax first.
    """
    probs = check_pred_probs(pred_probs)
    return check_labels(labels, num_rows=len(probs), num_classes=probs.shape[1]), probs


def check_pred_probs(pred_probs: ArrayLike) -> Numbers:
    """The same (N, K) array, once every row of it is a probability distribution over K classes."""
    probs = _as_array(pred_probs, "pred_probs")
    if probs.ndim != 2 or len(probs) == 0 or probs.shape[1] < 2:
        raise InputError(
            "pred_probs has one row a photo, at least one, and one column a class, at least two.",
            came=f"an array of shape {probs.shape}",
            remedy="Pass an array of shape (N, K).",
        )
    if probs.dtype not in SUM_TOLERANCE:
        raise InputError(
            "pred_probs is of type float16, float32 or float64.",
            came=f"type {probs.dtype}",
            remedy="Convert it with pred_probs.astype(np.float32).",
        )
    row = _first_bad_row(probs)
    if row is not None:
        raise _row_error(probs[row], row)
    return probs


def check_labels(labels: ArrayLike, *, num_rows: int, num_classes: int) -> Labels:
    """Labels as an array of machine integers, once there are N of them and all lie in 0..K-1."""
    given = _as_array(labels, "labels")
    if given.shape != (num_rows,):
        raise InputError(
            "There is one label for each row of pred_probs.",
            came=f"labels of shape {given.shape} for {num_rows} rows",
            remedy="Pass both from the same table, in the same order.",
        )
    row = _first_not_whole(given)
    if row is not None:
        raise InputError(
            "Labels are whole numbers of an integer type.",
            came=f"{given[row]!r} in row {row}",
            remedy="Correct that row, or convert with labels.astype(int).",
        )
    outside = (given < 0) | (given >= num_classes)
    if outside.any():
        row = int(outside.argmax())
        raise InputError(
            f"Labels lie in 0..{num_classes - 1}, one number for each column of pred_probs.",
            came=f"label {given[row]} in row {row}",
            remedy=f"Correct row {row}, or give pred_probs a column for every class.",
        )
    return given.astype(np.intp)


def known(what: str, name: str, choices: dict[str, Choice]) -> Choice:
    """The entry of that name, or an error that lists the known ones.

    >>> known("method", "margin", {"self_confidence": 1, "normalized_margin": 2})
    Traceback (most recent call last):
        ...
    kiyome.errors.InputError: The method is one of self_confidence, normalized_margin. \
Came: 'margin'. Choose one of these names.
    """
    if name not in choices:
        raise InputError(
            f"The {what} is one of {', '.join(choices)}.",
            came=repr(name),
            remedy="Choose one of these names.",
        )
    return choices[name]


def row_blocks(pred_probs: Numbers) -> Iterator[slice]:
    """Slices that cover the rows in order, so that work on N x K needs no memory of N x K.

    >>> [(block.start, block.stop) for block in row_blocks(np.zeros((70_000, 4)))]
    [(0, 32768), (32768, 65536), (65536, 98304)]
    """
    size = max(1, BLOCK_ENTRIES // pred_probs.shape[1])
    return (slice(start, start + size) for start in range(0, len(pred_probs), size))


def rows_by_class(labels: Labels, num_classes: int) -> list[Labels]:
    """For each class, the indices of the rows that carry it, in row order.

    >>> [rows.tolist() for rows in rows_by_class(np.array([1, 0, 1]), 3)]
    [[1], [0, 2], []]
    """
    by_class = np.argsort(labels, kind="stable")
    return np.split(by_class, np.cumsum(np.bincount(labels, minlength=num_classes))[:-1])


def _as_array(values: ArrayLike, name: str) -> Numbers:
    try:
        return np.asarray(values)
    except ValueError as error:  # rows of unequal lengths
        raise InputError(
            f"{name} is an array.", came=f"{type(values).__name__}: {error}", remedy="Pass a numpy array."
        ) from error


def _first_bad_row(probs: Numbers) -> int | None:
    with np.errstate(invalid="ignore"):  # inf - inf is what we look for
        sums = probs.sum(axis=1, dtype=np.float64)
        # NaN and inf fail this comparison too, hence the negation
        sound = (np.abs(sums - 1) <= SUM_TOLERANCE[probs.dtype]) & (probs.min(axis=1) >= 0)
    return None if sound.all() else int(sound.argmin())


def _row_error(values: Numbers, row: int) -> InputError:
    if not np.isfinite(values).all():
        column = int(np.isfinite(values).argmin())
        return InputError(
            "pred_probs holds finite numbers only.",
            came=f"{values[column]} in row {row}, column {column}",
            remedy="Find out why the model gave it; rows without a prediction must be left out.",
        )
    if values.min() < 0:
        column = int(values.argmin())
        return InputError(
            "Probabilities are not negative.",
            came=f"{values[column]} in row {row}, column {column}",
            remedy="Pass probabilities; for scores (logits), take a softmax first.",
        )
    return InputError(
        "Rows of pred_probs sum to one.",
        came=f"a sum of {values.sum(dtype=np.float64):.6g} in row {row}",
        remedy="Divide each row by its sum; for scores that are not probabilities, take a softmax first.",
    )


def _first_not_whole(labels: Numbers) -> int | None:
    if labels.dtype.kind in "iu":
        return None
    if labels.dtype.kind == "f":  # whole or not, a float label is refused
        return int((~np.isfinite(labels) | (labels != np.floor(labels))).argmax())
    whole = [isinstance(label, Integral) and not isinstance(label, bool) for label in labels]
    return None if all(whole) else whole.index(False)
