"""Look twice: does anything contradict how labels and predictions were read? N rows, K classes.

Each check states both readings with their agreement, and stops the run where only the other reading fits.
Noise, however strong, does not look like that.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from kiyome.errors import InputError

MOST_NAMED = 8
"""Classes that a message lists."""
LEAST_ROWS = 5
"""Rows of one predicted class that carry another class's label before the two count as exchanged."""
TIMES = 3
"""By how much the other reading must fit better."""
DEVIATIONS = 4
"""Of luck, by which the other reading must fit better."""

Labels = NDArray[np.integer]


def check_class_order(counts: NDArray[np.integer], class_names: Sequence[str], *, source: str) -> None:
    """Refuse predictions whose columns are in another order than the classes.

    Parameters
    ----------
    counts
        (K, K) rows by predicted class and given label.

    Raises
    ------
    InputError
        Where some columns, exchanged among themselves, fit the labels at least three times as well, and then
        most of their rows. Wrong labels do not do that: they would have to be most labels of each such class
        and form a circle.

    >>> check_class_order(np.array([[90, 10], [8, 92]]), ["cat", "dog"], source="oof.csv")
    >>> check_class_order(np.array([[6, 94], [91, 9]]), ["cat", "dog"], source="oof.csv")
    Traceback (most recent call last):
        ...
    kiyome.errors.InputError: The columns of oof.csv are probably in another order than the classes: \
predictions agree with 7.5 % of labels in this order, and with 92.5 % if cat is dog and dog is cat. \
Expected one column for each class in the order cat, dog. Name the columns by class, or reorder them.
    """
    from scipy.optimize import linear_sum_assignment

    _, meant = linear_sum_assignment(counts, maximize=True)
    exchanged = [circle for circle in _circles(meant) if _fits_better(counts, circle, meant[circle])]
    if not exchanged:
        return
    reading = np.arange(len(counts))
    for circle in exchanged:
        reading[circle] = meant[circle]
    pairs = [
        f"{class_names[column]} is {class_names[reading[column]]}" for column in np.concatenate(exchanged)
    ]
    now, then = np.trace(counts) / counts.sum(), counts[np.arange(len(counts)), reading].sum() / counts.sum()
    raise InputError(
        f"The columns of {source} are probably in another order than the classes: predictions agree with"
        f" {100 * now:.1f} % of labels in this order, and with {100 * then:.1f} % if {_listed(pairs)}.",
        expected=f"Expected one column for each class in the order {', '.join(class_names[:MOST_NAMED])}"
        + (", ..." if len(class_names) > MOST_NAMED else "."),
        remedy="Name the columns by class, or reorder them.",
    )


def _circles(permutation: NDArray[np.integer]) -> Iterator[NDArray[np.integer]]:
    """The members of each cycle of a permutation, but for those that stay where they are."""
    seen: set[int] = set()
    for start in range(len(permutation)):
        circle = []
        while start not in seen:
            seen.add(start)
            circle.append(start)
            start = int(permutation[start])
        if len(circle) > 1:
            yield np.array(circle)


def _fits_better(
    counts: NDArray[np.integer], columns: NDArray[np.integer], labels: NDArray[np.integer]
) -> bool:
    """Whether the rows of these columns carry the other labels, beyond noise and luck."""
    moved, kept = counts[columns, labels], counts[columns, columns].sum()
    total = moved.sum()
    return bool(
        (moved >= LEAST_ROWS).all()
        and total >= TIMES * kept
        and total >= kept + DEVIATIONS * np.sqrt(total)
        and 2 * total >= counts[columns].sum()
    )


def _listed(texts: Sequence[str]) -> str:
    shown = list(texts[:MOST_NAMED])
    rest = len(texts) - len(shown)
    if rest:
        shown.append(f"{rest} more")
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))


def check_not_constant(pred_probs: NDArray[np.floating], *, source: str) -> None:
    """Refuse predictions that are the same for all rows: they say nothing about any label.

    >>> check_not_constant(np.full((3, 2), 0.5), source="oof.npy")
    Traceback (most recent call last):
        ...
    kiyome.errors.InputError: All 3 rows of oof.npy hold the same probabilities. They say nothing \
about labels. Give the out-of-fold predictions of a trained model.
    """
    first = pred_probs[0]
    step = 65_536
    for start in range(0, len(pred_probs), step):
        if (np.abs(pred_probs[start : start + step] - first) > 1e-6).any():
            return
    raise InputError(
        f"All {len(pred_probs):,} rows of {source} hold the same probabilities.",
        expected="They say nothing about labels.",
        remedy="Give the out-of-fold predictions of a trained model.",
    )


def check_matched_by_id(labels: Labels, by_id: Labels, by_position: Labels, *, source: str) -> None:
    """Refuse predictions that fit the labels by position and not by their ids.

    Parameters
    ----------
    labels, by_id, by_position
        (N,) given labels; most likely classes in the table's order by id, and in the order of the file.

    >>> labels = np.arange(100) % 2
    >>> check_matched_by_id(labels, 1 - labels, labels, source="oof.csv")
    Traceback (most recent call last):
        ...
    kiyome.errors.InputError: The ids in oof.csv probably belong to other rows: predictions agree with 0.0 % \
of labels by id, and with 100.0 % by position. Correct the ids, or remove their column: then rows \
are matched by position.
    """
    fits_by_id, fits_by_position = (labels == by_id).mean(), (labels == by_position).mean()
    luck = 3 / np.sqrt(len(labels))
    if fits_by_position < max(0.5, fits_by_id + max(luck, 0.3)):
        return
    raise InputError(
        f"The ids in {source} probably belong to other rows: predictions agree with {100 * fits_by_id:.1f} %"
        f" of labels by id, and with {100 * fits_by_position:.1f} % by position.",
        remedy="Correct the ids, or remove their column: then rows are matched by position.",
    )


def check_duplicate_labels(groups: Sequence[NDArray[np.integer]], labels: Labels) -> None:
    """Refuse a table in which the same photos have different labels throughout.

    Parameters
    ----------
    groups
        Rows of photos that are the same, byte for byte; each has two rows or more.

    Raises
    ------
    InputError
        Where such photos are a third of all rows or more, and the labels differ in nine of ten groups: then
        the labels mean something else, such as a reader, a fold or a split.

    >>> check_duplicate_labels([np.array([0, 2]), np.array([1, 3])] * 5, np.array([0, 0, 1, 1]))
    Traceback (most recent call last):
        ...
    kiyome.errors.InputError: Labels differ in 10 of 10 groups of identical photos. Expected \
labels of what a photo shows, not of who labeled it or where it is. Name the column or \
the folder that holds the classes.
    """
    differing = sum(len(set(labels[rows].tolist())) > 1 for rows in groups)
    rows_in_groups = sum(map(len, groups))
    if differing < 10 or differing < 0.9 * len(groups) or 3 * rows_in_groups < len(labels):
        return
    raise InputError(
        f"Labels differ in {differing:,} of {len(groups):,} groups of identical photos.",
        expected="Expected labels of what a photo shows, not of who labeled it or where it is.",
        remedy="Name the column or the folder that holds the classes.",
    )
