"""What a look at a row is expected to bring. N rows.

The gain of a row is the number of labels that one look at its picture is expected to put right:

    gain = the sum of P(label wrong) over the rows that show the same picture,
           and no less than what must be wrong there: all but the most frequent of the labels given to it

It differs from suspicion where a picture lies in several rows: one look settles them all, so they come
earlier, and side by side. Elsewhere the two orders are one, where find's own method flagged the rows.

Bernhardt et al. (2022), "Active label cleaning for improved dataset quality under resource constraints",
Nature Communications 13, 1161, further put photos later that seem ambiguous. Here that was tried as a factor,
the share of the likeliest other class among the others, and given up: benchmarks/review_order.py says what it
cost.
"""

import numpy as np
from numpy.typing import NDArray

from kiyome.errors import InputError
from kiyome.reviewing.subject import ALONE, Subject


def expected_gain(subject: Subject) -> NDArray[np.float64]:
    """Labels (N,) that a look at each row is expected to put right; above 1 only where rows are copies.

    Raises
    ------
    InputError
        In a blind review, which has no chances.
    """
    if subject.probability is None or subject.given_labels is None:
        raise InputError("Gain is a sum of chances.", came="a blind review", remedy="Ask for order 'random'.")
    if subject.duplicate_groups is None:
        return subject.probability
    return gain_with_copies(subject.probability, subject.given_labels, subject.duplicate_groups)


def gain_with_copies(
    chances: NDArray[np.float64], labels: NDArray[np.integer], groups: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Each row's chance (N,) to be wrong, or what a look at the picture brings where other rows show it, too.

    Parameters
    ----------
    chances
        (N,) that the given label is wrong.
    labels
        (N,) given ones.
    groups
        (N,) rows with the same number show the same picture; `ALONE` shows it alone.

    Examples
    --------
    >>> gain_with_copies(np.array([0.5, 0.25, 0.5, 0.1, 0.2]), np.array([0, 1, 1, 0, 1]),
    ...                  np.array([ALONE, 0, 0, 1, 1])).tolist()
    [0.5, 0.75, 0.75, 1.0, 1.0]
    """
    copies = np.flatnonzero(groups != ALONE)
    if len(copies) == 0:
        return chances
    _, pictures = np.unique(groups[copies], return_inverse=True)
    sums = np.bincount(pictures, weights=chances[copies])
    num_labels = int(labels[copies].max()) + 1
    cells, counts = np.unique(pictures * num_labels + labels[copies], return_counts=True)
    most_frequent = np.zeros(len(sums), dtype=np.int64)
    np.maximum.at(most_frequent, cells // num_labels, counts)
    gain = chances.copy()
    gain[copies] = np.maximum(sums, np.bincount(pictures) - most_frequent)[pictures]
    return gain
