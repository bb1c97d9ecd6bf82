"""The confident joint: how often class `given` seems to be `true`. N rows, K classes.

A row is confidently in a class when the model gives that class at least the confidence it has, on average, in
rows labeled so. Counting (true class, given label) over the confident rows gives the joint of Northcutt,
Jiang and Chuang, "Confident Learning" (JAIR 2021, arXiv 1911.00068). Results equal cleanlab 2.9.0's
`count.compute_confident_joint` to the last count, transposed: **rows are true classes here.**
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.checks import Labels, Numbers, check_arrays, row_blocks
from kiyome.noise.top_classes import (
    SLACK,
    TopClasses,
    highest_sum,
    kernels_for,
    on_threads,
    read_top_classes,
    revisit,
)

Counts = NDArray[np.int64]
ConfidentClasses = NDArray[np.int32]

NO_CLASS = -1  # of a row that reaches no class's threshold
UNDECIDED = -2  # until all classes of the row are seen
LOWEST_THRESHOLD = 2 * SLACK
OUT_OF_REACH = 2  # the threshold of a class that nobody was given


def confident_thresholds(labels: ArrayLike, pred_probs: ArrayLike) -> Numbers:
    """Return the mean probability that the rows of each label give to it: (K,), in 0..1.

    A class without a labeled row gets 2, which no probability reaches. Means are taken in the type of
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
        Unsuitable arrays; the message names the first such row.

    Examples
    --------
    >>> confident_thresholds([0, 0, 1], [[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]])
    array([0.7, 0.8])
    """
    return mean_self_confidence(read_top_classes(*check_arrays(labels, pred_probs)))


def confident_joint(labels: ArrayLike, pred_probs: ArrayLike, *, calibrate: bool = True) -> Counts:
    """Return counts (K, K) of rows by [true, given] class, estimated from the confident rows.

    Parameters
    ----------
    labels
        (N,) given labels, whole numbers from 0 to K-1. A class may be absent from them.
    pred_probs
        (N, K) out-of-fold probabilities, rows sum to one.
    calibrate
        Scale the counts so that each column sums to the number of rows with that given label (and all to
        N), then round them. Without it: raw counts of the confident rows, the diagonal at least 1.

    Raises
    ------
    InputError
        Unsuitable arrays; the message names the first such row.

    Notes
    -----
    Not good for noise that depends on the photo: rows whose wrong label also fools the model count as right,
    so the off-diagonal is too small on human labels (see `noise_rate`).

    Examples
    --------
    Three rows are labeled 1; the model is sure that the last of them is a 0.

    >>> pred_probs = [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.95, 0.05]]
    >>> confident_joint([0, 0, 1, 1, 1], pred_probs)
    array([[2, 1],
           [0, 2]])
    """
    labels, pred_probs = check_arrays(labels, pred_probs)
    rows = read_top_classes(labels, pred_probs)
    joint = count_joint(rows, confident_classes(rows, pred_probs, mean_self_confidence(rows)))
    return joint.calibrated() if calibrate else joint.counts


@dataclass(frozen=True, kw_only=True, eq=False)
class JointCounts:
    """Rows counted by true and given class; the counts of chunks add up."""

    confident: Counts
    """(K, K) [true, given] of the confident rows."""
    labels: Counts
    """(K,) rows of each given label."""

    def __add__(self, other: JointCounts) -> JointCounts:
        return JointCounts(confident=self.confident + other.confident, labels=self.labels + other.labels)

    @property
    def counts(self) -> Counts:
        """Raw counts (K, K) [true, given] of the confident rows, the diagonal at least 1."""
        counts = self.confident.copy()
        np.fill_diagonal(counts, counts.diagonal().clip(min=1))
        return counts

    def calibrated(self) -> Counts:
        """Return whole numbers (K, K), scaled so that column k sums to the number of labels k."""
        counts = self.counts
        # this order of operations, in this memory layout, decides which halves round up in cleanlab
        scaled = counts / counts.sum(axis=0)
        scaled *= self.labels
        scaled /= scaled.sum()
        scaled *= self.labels.sum()
        return _rounded_rows(np.ascontiguousarray(scaled.T)).T


def mean_self_confidence(rows: TopClasses) -> Numbers:
    """Return the confident thresholds (K,) of rows, or of chunks that were joined."""
    counts = rows.label_counts
    # the last digit of a mean depends on the order of its terms: that of the rows
    by_class = np.split(_grouped_by_label(rows, counts), counts.cumsum()[:-1])
    dtype = rows.probs.dtype
    wide = np.float32 if dtype == np.float16 else dtype  # as np.mean, in a third of its time
    sums = np.array([np.add.reduce(probs, dtype=wide) for probs in by_class], dtype=wide)
    means = (sums / counts.clip(min=1).astype(wide)).astype(dtype)
    # a class without rows turns all of them into double precision, as in cleanlab
    thresholds = means if counts.all() else np.where(counts > 0, means.astype(np.float64), OUT_OF_REACH)
    return thresholds.clip(min=LOWEST_THRESHOLD)


def _grouped_by_label(rows: TopClasses, counts: Counts) -> Numbers:
    """Return self-confidences (N,) of class after class, each in row order."""
    kernels = kernels_for(rows.num_entries)
    if kernels is None or rows.probs.dtype == np.float16:
        return rows.given_probs[np.argsort(rows.given, kind="stable")]
    grouped = np.empty(len(rows.given), dtype=rows.probs.dtype)
    kernels.group_by_class(rows.classes, rows.probs, counts.cumsum() - counts, grouped)
    return grouped


def confident_classes(rows: TopClasses, pred_probs: Numbers, thresholds: Numbers) -> ConfidentClasses:
    """Return the class (N,) that each row is confidently in, or NO_CLASS."""
    # both sides of a comparison with a cut are exact in double precision
    cuts = (thresholds - SLACK).astype(np.float64)
    found = np.empty(len(rows.given), dtype=np.int32)
    limit = highest_sum(pred_probs)
    kernels = kernels_for(rows.num_entries) if rows.probs.dtype != np.float16 else None

    def decide(block: slice) -> None:
        classes, probs = rows.classes[block], rows.probs[block]
        if kernels is not None:
            kernels.decide_by_top(classes, probs, cuts, cuts.min(), limit, found[block])
            return
        for part in row_blocks(probs):
            found[block][part] = decide_by_top(classes[part], probs[part], cuts, limit)

    on_threads(decide, len(found), entries=rows.probs.size)
    _decide_rest(pred_probs, cuts, found)
    return found


def decide_by_top(classes: Numbers, probs: Numbers, cuts: Numbers, limit: float) -> ConfidentClasses:
    """Return the confident class (n,) of rows as far as their two top classes decide it, else UNDECIDED.

    The likeliest class wins as soon as it reaches its cut, alone or not. If it does not, another class may:
    unless the next probability, which with the two above it sums to `limit` at most, is below all cuts.
    """
    # argmax takes the first of equals
    swap = (probs[:, 0] < probs[:, 1]) | ((probs[:, 0] == probs[:, 1]) & (classes[:, 0] > classes[:, 1]))
    predicted = np.where(swap, classes[:, 1], classes[:, 0])
    best = np.where(swap, probs[:, 1], probs[:, 0])
    others = np.minimum(probs[:, 1], limit - probs[:, 0] - probs[:, 1])
    runner_up = np.where(swap, np.maximum(probs[:, 0], others), probs[:, 1])
    otherwise = np.where(runner_up < cuts.min(), NO_CLASS, UNDECIDED)
    return np.where(best >= cuts[predicted], predicted, otherwise).astype(np.int32)


def _decide_rest(pred_probs: Numbers, cuts: Numbers, found: ConfidentClasses) -> None:
    undecided = np.flatnonzero(found == UNDECIDED)
    kernels = kernels_for(pred_probs.size)
    for part, probs, at in revisit(pred_probs, undecided):
        if kernels is None or probs.dtype == np.float16:
            found[undecided[part]] = decide_among_all(probs[at], cuts)
        else:
            found[undecided[part]] = _decide_compiled(kernels, probs, at, cuts)


def _decide_compiled(kernels: ModuleType, probs: Numbers, at: Labels, cuts: Numbers) -> ConfidentClasses:
    found = np.empty(len(at), dtype=np.int32)

    def decide(rows: slice) -> None:
        kernels.decide_among_all(probs, at[rows], cuts, found[rows])

    on_threads(decide, len(at), entries=len(at) * probs.shape[1])
    return found


def decide_among_all(pred_probs: Numbers, cuts: Numbers) -> ConfidentClasses:
    """Return the confident class (n,) of rows by all of their classes, or NO_CLASS."""
    confident = pred_probs >= cuts
    num_confident = confident.sum(axis=1)
    # among several the likeliest of ALL classes wins, as in cleanlab; the paper asks the confident ones only
    found = np.where(num_confident > 1, pred_probs.argmax(axis=1), confident.argmax(axis=1))
    return np.where(num_confident > 0, found, NO_CLASS).astype(np.int32)


def count_joint(rows: TopClasses, found: ConfidentClasses) -> JointCounts:
    """Return the counts of the rows that are confidently in a class."""
    K = rows.num_classes
    kernels = kernels_for(rows.num_entries)
    if kernels is None:
        confident = found != NO_CLASS
        cells = found[confident].astype(np.int64) * K + rows.given[confident]
        counts = np.bincount(cells, minlength=K * K).reshape(K, K)
    else:
        counts = np.zeros((K, K), dtype=np.int64)
        kernels.count_pairs(found, rows.classes, counts)
    return JointCounts(confident=counts, labels=rows.label_counts)


def _rounded_rows(values: Numbers) -> Counts:
    """Return whole numbers near `values`, with the same (whole) row sums: largest remainders change first."""
    rounded = values.round()
    missing = (values.sum(axis=1).round() - rounded.sum(axis=1)).round().astype(np.int64)
    uneven = np.flatnonzero(missing)
    remainders = values - rounded
    by_remainder = np.empty((len(uneven), values.shape[1]), dtype=np.intp)

    def sort(part: slice) -> None:
        # cleanlab's sort: equal remainders, of which there are many, fall the same way
        by_remainder[part] = np.argsort(remainders[uneven[part]], axis=1)

    on_threads(sort, len(uneven), entries=by_remainder.size)
    for step in range(int(np.abs(missing).max())):
        up, down = missing[uneven] > step, missing[uneven] < -step
        rounded[uneven[up], by_remainder[up, -1 - step]] += 1
        rounded[uneven[down], by_remainder[down, step]] -= 1
    return rounded.astype(np.int64)
