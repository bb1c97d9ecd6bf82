"""Checks of labels and pred_probs, which every room of arrays shares. N rows, K classes."""

from collections.abc import Iterable, Iterator
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.errors import InputError

Labels = NDArray[np.intp]
Mask = NDArray[np.bool_]
Matrix = NDArray[np.float64]
Numbers = NDArray[Any]

# how far a row's sum may be from one: half precision loses three digits
SUM_TOLERANCE = {np.dtype(np.float16): 1e-2, np.dtype(np.float32): 1e-3, np.dtype(np.float64): 1e-3}

BLOCK_ENTRIES = 2**17  # a block of rows that stays in the processor's cache


def check_arrays(labels: ArrayLike, pred_probs: ArrayLike, *, first_row: int = 0) -> tuple[Labels, Numbers]:
    """Return labels (N,) as machine integers, and pred_probs (N, K) neither copied nor converted.

    `first_row` is where a chunk begins in its table: errors name the first bad row of the table.

    >>> check_arrays([0, 2], [[0.9, 0.1], [0.2, 0.8]])
    Traceback (most recent call last):
        ...
    kiyome.errors.InputError: Label 2 in row 1 has no column in pred_probs. Expected labels in 0..1. \
Correct row 1, or give pred_probs a column for every class.
    """
    probs = check_pred_probs(pred_probs)
    return check_labels(labels, num_rows=len(probs), num_classes=probs.shape[1], first_row=first_row), probs


def check_chunks(
    chunks: Iterable[tuple[ArrayLike, ArrayLike]],
) -> tuple[tuple[Labels, ...], tuple[Numbers, ...], tuple[int, ...]]:
    """Return labels, pred_probs and first rows of consecutive chunks (labels, pred_probs) of one table.

    >>> labels, pred_probs, first_rows = check_chunks([([0, 1], np.eye(2)), ([1], np.eye(2)[1:])])
    >>> first_rows
    (0, 2)
    """
    checked: list[tuple[Labels, Numbers]] = []
    first_rows = [0]
    for labels, pred_probs in chunks:
        checked.append(check_arrays(labels, pred_probs, first_row=first_rows[-1]))
        first_rows.append(first_rows[-1] + len(checked[-1][0]))
    check_one_kind([(probs.shape[1], str(probs.dtype)) for _, probs in checked])
    given, probs = zip(*checked, strict=True)
    return given, probs, tuple(first_rows[:-1])


def check_one_kind(kinds: Iterable[tuple[int, str]]) -> None:
    """Raise where parts, given by number of classes and type, are not those of one array."""
    if len(different := set(kinds)) != 1:
        found = " and ".join(f"{num} classes of {dtype}" for num, dtype in sorted(different))
        raise InputError(
            f"The parts have {found}." if found else "There is no part.",
            expected="Expected one part or more, of one type and number of classes.",
            remedy="Pass parts of one array.",
        )


def check_pred_probs(pred_probs: ArrayLike) -> Numbers:
    """Return the same (N, K) array; shape and type must be those of probabilities."""
    probs = _as_array(pred_probs, "pred_probs")
    if probs.ndim != 2 or len(probs) == 0 or probs.shape[1] < 2:
        raise InputError(
            f"pred_probs has shape {probs.shape}.",
            expected="Expected (N, K): one row a photo, at least one, and one column a class, at least two.",
            remedy="Pass an array of this shape.",
        )
    if probs.dtype not in SUM_TOLERANCE:
        raise InputError(
            f"pred_probs has type {probs.dtype}.",
            expected="Expected float16, float32 or float64.",
            remedy="Convert it with pred_probs.astype(np.float32).",
        )
    return probs


def check_rows(pred_probs: Numbers, *, first_row: int = 0) -> None:
    """Raise where a row of a block is no distribution, within 0.001 of its sum (float16: 0.01).

    `first_row` is where the block begins in its table.

    >>> check_rows(np.array([[0.9, 0.1], [0.2, 0.9]]))
    Traceback (most recent call last):
        ...
    kiyome.errors.InputError: Row 1 of pred_probs sums to 1.1. Expected rows that sum to one. \
Divide each row by its sum; for scores that are not probabilities, take a softmax first.
    """
    with np.errstate(invalid="ignore"):  # inf - inf marks a bad row
        sums = pred_probs.sum(axis=1, dtype=np.float64)
        # NaN and inf fail this comparison too, hence the negation
        sound = (np.abs(sums - 1) <= SUM_TOLERANCE[pred_probs.dtype]) & (pred_probs.min(axis=1) >= 0)
    if not sound.all():
        row = int(sound.argmin())
        raise _row_error(pred_probs[row], first_row + row)


def check_labels(labels: ArrayLike, *, num_rows: int, num_classes: int, first_row: int = 0) -> Labels:
    """Return N labels in 0..K-1 as an array of machine integers."""
    given = _as_array(labels, "labels")
    if given.shape != (num_rows,):
        raise InputError(
            f"labels have shape {given.shape}, pred_probs has {num_rows} rows.",
            expected="Expected one label for each row.",
            remedy="Pass both from the same table, in the same order.",
        )
    row = _first_not_whole(given)
    if row is not None:
        raise InputError(
            f"Label {given[row]!r} in row {first_row + row} is not a whole number of an integer type.",
            remedy="Correct that row, or convert with labels.astype(int).",
        )
    if given.min() < 0 or given.max() >= num_classes:
        row = int(((given < 0) | (given >= num_classes)).argmax())
        raise InputError(
            f"Label {given[row]} in row {first_row + row} has no column in pred_probs.",
            expected=f"Expected labels in 0..{num_classes - 1}.",
            remedy=f"Correct row {first_row + row}, or give pred_probs a column for every class.",
        )
    return given.astype(np.intp, copy=False)


def row_blocks(pred_probs: Numbers, entries: int = BLOCK_ENTRIES) -> Iterator[slice]:
    """Return slices that cover the rows in order, of about `entries` numbers each.

    >>> [(block.start, block.stop) for block in row_blocks(np.zeros((70_000, 4)))]
    [(0, 32768), (32768, 65536), (65536, 98304)]
    """
    size = max(1, entries // pred_probs.shape[1])
    return (slice(start, start + size) for start in range(0, len(pred_probs), size))


def rows_by_class(labels: NDArray[np.integer[Any]], num_classes: int) -> list[Labels]:
    """Return the row indices of each class, in row order.

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
            f"{name} is a {type(values).__name__} that is no array: {error}.", remedy="Pass a numpy array."
        ) from error


def _row_error(values: Numbers, row: int) -> InputError:
    if not np.isfinite(values).all():
        column = int(np.isfinite(values).argmin())
        return InputError(
            f"pred_probs has {values[column]} in row {row}, column {column}.",
            expected="Expected finite numbers.",
            remedy="Find out why the model predicted it; leave out rows without a prediction.",
        )
    if values.min() < 0:
        column = int(values.argmin())
        return InputError(
            f"pred_probs has {values[column]} in row {row}, column {column}.",
            expected="Expected probabilities of 0 or more.",
            remedy="Pass probabilities; for scores (logits), take a softmax first.",
        )
    return InputError(
        f"Row {row} of pred_probs sums to {values.sum(dtype=np.float64):.6g}.",
        expected="Expected rows that sum to one.",
        remedy="Divide each row by its sum; for scores that are not probabilities, take a softmax first.",
    )


def _first_not_whole(labels: Numbers) -> int | None:
    if labels.dtype.kind in "iu":
        return None
    if labels.dtype.kind == "f":  # whole or not, a float label is refused
        return int((~np.isfinite(labels) | (labels != np.floor(labels))).argmax())
    whole = [isinstance(label, Integral) and not isinstance(label, bool) for label in labels]
    return None if all(whole) else whole.index(False)


def check_scored(labels: ArrayLike, pred_probs: ArrayLike) -> tuple[Labels, Matrix]:
    """Return labels (N,) and probabilities (N, K) of double precision, each row exactly a distribution.

    >>> labels, probs = check_scored([0], [[0.9, 0.1]])
    >>> labels.shape, probs.dtype
    ((1,), dtype('float64'))
    """
    given, probs = check_arrays(labels, pred_probs)
    check_rows(probs)
    wide = probs.astype(np.float64)
    wide /= wide.sum(axis=1, keepdims=True)
    return given, wide
