"""The confident joint: how often class `given` seems to be `true`. N rows, K classes.

A row is placed in a class when the model gives that class at least the confidence it has, on average, in
rows labeled so. Counting (true class, given label) over the placed rows gives the joint of Northcutt, Jiang
and Chuang, "Confident Learning" (JAIR 2021, arXiv 1911.00068). Results equal cleanlab 2.9.0's
`count.compute_confident_joint` to the last count, transposed: **rows are true classes here.**
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.checks import Labels, Numbers, check_arrays, row_blocks
from kiyome.noise.blocks import on_threads, revisit
from kiyome.noise.reading import SLACK, KeptRows, highest_sum, kernels_for, read_kept

Counts = NDArray[np.int64]
Places = NDArray[np.int32]

NOWHERE = -1  # the place of a row that reaches no class's threshold
UNDECIDED = -2  # until all classes of the row are seen
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
    return mean_self_confidence(read_kept(*check_arrays(labels, pred_probs)))


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
    rows = read_kept(labels, pred_probs)
    joint = count_joint(rows, place_rows(rows, pred_probs, mean_self_confidence(rows)))
    return joint.calibrated() if calibrate else joint.counts


@dataclass(frozen=True, kw_only=True, eq=False)
class JointCounts:
    """Rows counted by true and given class. Chunks add up: `counted + counted` is the count of both."""

    placed: Counts
    """(K, K) [true, given] of the confidently placed rows."""
    labels: Counts
    """(K,) rows of each given label."""

    def __add__(self, other: JointCounts) -> JointCounts:
        return JointCounts(placed=self.placed + other.placed, labels=self.labels + other.labels)

    @property
    def counts(self) -> Counts:
        """Raw counts (K, K) [true, given] of the placed rows, the diagonal at least 1."""
        counts = self.placed.copy()
        np.fill_diagonal(counts, counts.diagonal().clip(min=1))
        return counts

    def calibrated(self) -> Counts:
        """Counts scaled so that column k sums to the number of labels k, in whole numbers."""
        counts = self.counts
        # this order of operations, in this memory layout, decides which halves round up in cleanlab
        scaled = counts / counts.sum(axis=0)
        scaled *= self.labels
        scaled /= scaled.sum()
        scaled *= self.labels.sum()
        return _rounded_rows(np.ascontiguousarray(scaled.T)).T


def mean_self_confidence(rows: KeptRows) -> Numbers:
    """Thresholds (K,) of rows, or of chunks that were joined.

    A mean depends on the order of its terms, in its last digit: so it is taken in the order of the rows.
    """
    counts = rows.label_counts
    by_class = np.split(_grouped(rows, counts), counts.cumsum()[:-1])
    dtype = rows.probs.dtype
    wide = np.float32 if dtype == np.float16 else dtype  # as np.mean does, a third of whose time is this
    sums = np.array([np.add.reduce(own, dtype=wide) for own in by_class], dtype=wide)
    means = (sums / counts.clip(min=1).astype(wide)).astype(dtype)
    # a class without rows turns all of them into double precision, as in cleanlab
    thresholds = means if counts.all() else np.where(counts > 0, means.astype(np.float64), OUT_OF_REACH)
    return thresholds.clip(min=LOWEST_THRESHOLD)


def _grouped(rows: KeptRows, counts: Counts) -> Numbers:
    """Self-confidences (N,) of class after class, each in row order."""
    kernels = kernels_for(rows.num_entries)
    if kernels is None or rows.probs.dtype == np.float16:
        return rows.own[np.argsort(rows.given, kind="stable")]
    grouped = np.empty(len(rows.given), dtype=rows.probs.dtype)
    kernels.group_by_class(rows.classes, rows.probs, counts.cumsum() - counts, grouped)
    return grouped


def place_rows(rows: KeptRows, pred_probs: Numbers, thresholds: Numbers) -> Places:
    """The class (N,) that each row is confidently placed in, or NOWHERE.

    The kept classes decide most rows; the others are looked at again.
    """
    # both sides of a comparison with a cut are exact in double precision
    cuts = (thresholds - SLACK).astype(np.float64)
    places = np.empty(len(rows.given), dtype=np.int32)
    limit = highest_sum(pred_probs)
    kernels = kernels_for(rows.num_entries) if rows.probs.dtype != np.float16 else None

    def place(block: slice) -> None:
        if kernels is None:
            for part in row_blocks(rows.probs[block]):
                places[block][part] = place_by_kept(
                    rows.classes[block][part], rows.probs[block][part], cuts, limit
                )
        else:
            kernels.place_by_kept(
                rows.classes[block], rows.probs[block], cuts, cuts.min(), limit, places[block]
            )

    on_threads(place, len(places), entries=rows.probs.size)
    _place_undecided(pred_probs, cuts, places)
    return places


def place_by_kept(classes: Numbers, probs: Numbers, cuts: Numbers, limit: float) -> Places:
    """Places (n,) of rows as far as their kept classes tell, else UNDECIDED.

    A row is placed in its likeliest class as soon as that reaches its cut, alone or not. If it does not,
    another class may: unless the next probability, which with the two above it sums to `limit` at most, is
    below all cuts.
    """
    # argmax takes the first of equals
    swap = (probs[:, 0] < probs[:, 1]) | ((probs[:, 0] == probs[:, 1]) & (classes[:, 0] > classes[:, 1]))
    choice = np.where(swap, classes[:, 1], classes[:, 0])
    best = np.where(swap, probs[:, 1], probs[:, 0])
    others = np.minimum(probs[:, 1], limit - probs[:, 0] - probs[:, 1])
    runner_up = np.where(swap, np.maximum(probs[:, 0], others), probs[:, 1])
    places = np.where(runner_up < cuts.min(), NOWHERE, UNDECIDED)
    return np.where(best >= cuts[choice], choice, places).astype(np.int32)


def _place_undecided(pred_probs: Numbers, cuts: Numbers, places: Places) -> None:
    undecided = np.flatnonzero(places == UNDECIDED)
    kernels = kernels_for(pred_probs.size)
    for part, probs, at in revisit(pred_probs, undecided):
        if kernels is None or probs.dtype == np.float16:
            places[undecided[part]] = place_among_all(probs[at], cuts)
            continue
        found = np.empty(len(at), dtype=np.int32)

        def place(share: slice, probs: Numbers = probs, at: Labels = at, found: Places = found) -> None:
            kernels.place_among_all(probs, at[share], cuts, found[share])

        on_threads(place, len(at), entries=len(at) * probs.shape[1])
        places[undecided[part]] = found


def place_among_all(pred_probs: Numbers, cuts: Numbers) -> Places:
    """Places (n,) of rows by all of their classes."""
    confident = pred_probs >= cuts
    num_confident = confident.sum(axis=1)
    # among several the likeliest of ALL classes wins, as in cleanlab; the paper asks the confident ones only
    place = np.where(num_confident > 1, pred_probs.argmax(axis=1), confident.argmax(axis=1))
    return np.where(num_confident > 0, place, NOWHERE).astype(np.int32)


def count_joint(rows: KeptRows, places: Places) -> JointCounts:
    """The counts of rows that were placed."""
    K = rows.num_classes
    kernels = kernels_for(rows.num_entries)
    if kernels is None:
        placed = places != NOWHERE
        cells = places[placed].astype(np.int64) * K + rows.given[placed]
        counts = np.bincount(cells, minlength=K * K).reshape(K, K)
    else:
        counts = np.zeros((K, K), dtype=np.int64)
        kernels.count_pairs(places, rows.classes, counts)
    return JointCounts(placed=counts, labels=rows.label_counts)


def _rounded_rows(values: Numbers) -> Counts:
    """Whole numbers near `values`, rows of the same (whole) sum; the largest remainders give way first."""
    rounded = values.round()
    missing = (values.sum(axis=1).round() - rounded.sum(axis=1)).round().astype(np.int64)
    uneven = np.flatnonzero(missing)
    remainders = values - rounded
    by_remainder = np.empty((len(uneven), values.shape[1]), dtype=np.intp)

    def sort(share: slice) -> None:
        # cleanlab's sort: equal remainders, of which there are many, fall the same way
        by_remainder[share] = np.argsort(remainders[uneven[share]], axis=1)

    on_threads(sort, len(uneven), entries=by_remainder.size)
    for step in range(int(np.abs(missing).max())):
        up, down = missing[uneven] > step, missing[uneven] < -step
        rounded[uneven[up], by_remainder[up, -1 - step]] += 1
        rounded[uneven[down], by_remainder[down, step]] -= 1
    return rounded.astype(np.int64)
