"""The confident joint: how often class `given` seems to be `true`. N rows, K classes.

A row is placed in a class when the model gives that class at least the confidence it has, on average, in
rows labeled so. Counting (true class, given label) over the placed rows gives the joint of Northcutt, Jiang
and Chuang, "Confident Learning" (JAIR 2021, arXiv 1911.00068). Results equal cleanlab 2.9.0's
`count.compute_confident_joint` to the last count, transposed: **rows are true classes here.**
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.noise.arrays import Labels, Numbers, check_arrays, row_blocks, rows_by_class

Counts = NDArray[np.int64]

NOWHERE = -1  # the place of a row that reaches no class's threshold
SLACK = 1e-6  # a row this close below a threshold still counts
LOWEST_THRESHOLD = 2 * SLACK
OUT_OF_REACH = 2  # the threshold of a class that nobody was given


def confident_thresholds(labels: ArrayLike, pred_probs: ArrayLike) -> Numbers:
    """For each class, the mean probability that the rows labeled so give to it: (K,), in 0..1.

    A class that no row is labeled with gets 2, which no probability reaches. Means are taken in the type of
    `pred_probs`, as cleanlab does.

    Parameters
    ----------
    labels
        (N,) given labels, whole numbers from 0 to K-1.
    pred_probs
        (N, K) out-of-fold probabilities, rows sum to one.

    Raises
    ------
    InputError
        Arrays that break a stated rule; the message names the first such row.

    Examples
    --------
    >>> confident_thresholds([0, 0, 1], [[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]])
    array([0.7, 0.8])
    """
    labels, pred_probs = check_arrays(labels, pred_probs)
    return mean_self_confidence(labels, pred_probs)


def confident_joint(labels: ArrayLike, pred_probs: ArrayLike, *, calibrate: bool = True) -> Counts:
    """Counts (K, K) of rows by [true, given] class, as the confidently placed rows show them.

    Parameters
    ----------
    labels
        (N,) given labels, whole numbers from 0 to K-1. A class may be absent from them.
    pred_probs
        (N, K) out-of-fold probabilities, rows sum to one.
    calibrate
        Scale the counts so that each column sums to the number of rows with that given label (and all to
        N), then round them. Without it: raw counts of placed rows, the diagonal at least 1.

    Raises
    ------
    InputError
        Arrays that break a stated rule; the message names the first such row.

    Notes
    -----
    Not good for: noise that depends on the photo. Rows whose wrong label also fools the model are counted as
    right, so the off-diagonal is too small on labels that people gave (see `noise_rate`).

    Examples
    --------
    Three rows are labeled 1; the model is sure that the last of them is a 0.

    >>> pred_probs = [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.95, 0.05]]
    >>> confident_joint([0, 0, 1, 1, 1], pred_probs)
    array([[2, 1],
           [0, 2]])
    """
    labels, pred_probs = check_arrays(labels, pred_probs)
    counts = count_placed(
        labels, place_rows(pred_probs, mean_self_confidence(labels, pred_probs)), pred_probs
    )
    return calibrated(counts, labels) if calibrate else counts


def mean_self_confidence(labels: Labels, pred_probs: Numbers) -> Numbers:
    """Thresholds (K,) of arrays that were checked before."""
    means = [
        pred_probs[rows, k].mean() if len(rows) else OUT_OF_REACH
        for k, rows in enumerate(rows_by_class(labels, pred_probs.shape[1]))
    ]
    return np.array(means).clip(min=LOWEST_THRESHOLD)


def place_rows(pred_probs: Numbers, thresholds: Numbers) -> Labels:
    """The class (N,) that each row is confidently placed in, or NOWHERE."""
    blocks = row_blocks(pred_probs)
    return np.concatenate([_place(pred_probs[block], thresholds - SLACK) for block in blocks])


def _place(pred_probs: Numbers, cuts: Numbers) -> Labels:
    confident = pred_probs >= cuts
    num_confident = confident.sum(axis=1)
    # among several the likeliest of ALL classes wins, as in cleanlab; the paper asks the confident ones only
    place = np.where(num_confident > 1, pred_probs.argmax(axis=1), confident.argmax(axis=1))
    return np.where(num_confident > 0, place, NOWHERE)


def count_placed(labels: Labels, places: Labels, pred_probs: Numbers) -> Counts:
    """Raw counts (K, K) [true, given] of the placed rows, the diagonal at least 1."""
    K = pred_probs.shape[1]
    placed = places != NOWHERE
    counts = np.bincount(places[placed] * K + labels[placed], minlength=K * K).reshape(K, K)
    np.fill_diagonal(counts, counts.diagonal().clip(min=1))
    return counts


def calibrated(counts: Counts, labels: Labels) -> Counts:
    """Counts scaled so that column k sums to the number of labels k, in whole numbers."""
    label_counts = np.bincount(labels, minlength=len(counts))
    scaled = counts / counts.sum(axis=0) * label_counts
    # this order of operations, in this memory layout, decides which halves round up in cleanlab
    scaled = scaled / scaled.sum() * len(labels)
    return np.stack([_rounded(column) for column in scaled.T], axis=1)


def _rounded(values: Numbers) -> Counts:
    """Whole numbers near `values` with the same (whole) sum; the largest remainders give way first."""
    rounded = values.round()
    missing = int((values.sum().round() - rounded.sum()).round())
    by_remainder = np.argsort(values - rounded)  # cleanlab's sort: equal remainders fall the same way
    if missing > 0:
        rounded[by_remainder[-missing:]] += 1
    else:
        rounded[by_remainder[:-missing]] -= 1
    return rounded.astype(np.int64)
