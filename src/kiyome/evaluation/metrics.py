"""Scores of predictions, each with its interval. N rows, K classes.

    score_predictions(labels, pred_probs) -> Scores
        accuracy_on_given, accuracy_on_true    proportions: Wilson's interval
        log_loss                               a mean over rows: normal interval
        balanced_accuracy, macro_f1            bootstrap of the confusion counts
        recall and precision of each class     proportions: Wilson's interval
    detection(is_kind, scores) -> Detection    precision and recall of rows above a cut, average precision

Rows of a group are drawn together. All but `accuracy_on_true` is against given labels, which may be wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.artifacts.predictions import floored_log
from kiyome.checks import Labels, Matrix, check_labels, check_scored
from kiyome.errors import InputError
from kiyome.estimates import Estimate, check_confidence, group_numbers, proportion, proportion_of_rows
from kiyome.evaluation.diagnostics import CalibrationError, calibration_error

NUM_DRAWS = 1000  # of the bootstrap over rows
Draws = NDArray[np.float64]
UNKNOWN = -1  # an unknown true label

Counts = NDArray[np.float64]
Metric = Callable[[Counts], float]


class Options(TypedDict):
    """Of every interval here."""

    confidence: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """Recall and precision of one class; None where there is no row."""

    recall: Estimate | None
    """Share of the rows with this label that are predicted as it."""
    precision: Estimate | None
    """Share of the rows predicted as this class that have its label."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of predictions against given labels."""

    accuracy_on_given: Estimate
    accuracy_on_true: Estimate | None
    """Of the rows whose true label is known; None where none is."""
    balanced_accuracy: Estimate
    """Mean recall over classes with given labels."""
    macro_f1: Estimate
    """Mean F1 over classes with given labels or predictions."""
    log_loss: Estimate
    calibration_error: CalibrationError
    by_class: tuple[ClassScore, ...]


def score_predictions(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    true_labels: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Scores:
    """Return accuracy, balanced accuracy, macro F1, log loss, calibration error and scores of each class.

    Parameters
    ----------
    labels
        (N,) given labels, whole numbers from 0 to K-1.
    pred_probs
        (N, K) probabilities of models that did not see the row; rows sum to one.
    true_labels
        (N,) right labels where known, -1 elsewhere.
    groups
        (N,) rows with the same value belong together and are drawn together; an empty text stands alone.
    confidence, seed
        Of the intervals, and of the bootstrap.

    Raises
    ------
    InputError
        Unsuitable arrays; the message names the first such row.

    Notes
    -----
    Meaningless on predictions of training rows, and on rows that a cleaning step chose: such scores rise
    whatever was cleaned. Calibration error does not keep groups together.

    Examples
    --------
    >>> scores = score_predictions([0, 0, 0, 1], [[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
    >>> scores.accuracy_on_given.value, round(scores.balanced_accuracy.value, 3)
    (0.75, 0.833)
    >>> scores.by_class[1].precision.value
    0.5
    """
    check_confidence(confidence)
    given, probs = check_scored(labels, pred_probs)
    predicted, (N, K) = probs.argmax(axis=1), probs.shape
    together = None if groups is None else group_numbers(groups, N)
    options: Options = {"confidence": confidence, "seed": seed}

    def from_confusion(of: Metric) -> Estimate:
        return interval_from_confusion(of, given, predicted, K, together, **options)

    return Scores(
        accuracy_on_given=proportion_of_rows(predicted == given, groups=together, **options),
        accuracy_on_true=_accuracy_on_true(predicted, true_labels, K, together, options),
        balanced_accuracy=from_confusion(balanced_accuracy),
        macro_f1=from_confusion(macro_f1),
        log_loss=mean_of_rows(row_log_loss(given, probs), groups=together, confidence=confidence),
        calibration_error=calibration_error(given, probs),
        by_class=tuple(_class_score(given == k, predicted == k, together, options) for k in range(K)),
    )


def mean_of_rows(values: ArrayLike, *, groups: ArrayLike | None = None, confidence: float = 0.95) -> Estimate:
    """Return the mean of values (N,), with the normal interval of clustered rows.

    Liang and Zeger (1986), Biometrika 73, 13-22. Not good for fewer than about thirty groups.

    >>> mean_of_rows(np.arange(100) % 2).as_percent()
    '50.0 % (40.2 to 59.8 %, n = 100)'
    """
    rows = np.asarray(values, dtype=np.float64)
    together = np.arange(len(rows)) if groups is None else group_numbers(groups, len(rows))
    value = float(rows.mean())
    half = NormalDist().inv_cdf((1 + confidence) / 2) * _deviation_of_mean(rows - value, together)
    return Estimate(value=value, low=value - half, high=value + half, num_rows=len(rows))


def row_log_loss(labels: Labels, pred_probs: Matrix) -> NDArray[np.float64]:
    """Return minus the logarithm (N,) of each label's probability, floored at 1e-7.

    >>> row_log_loss(np.array([1]), np.array([[0.5, 0.5]])).round(4)
    array([0.6931])
    """
    return -floored_log(pred_probs[np.arange(len(labels)), labels])


def confusion_counts(labels: Labels, predicted: Labels, num_classes: int) -> Counts:
    """Return counts of rows (K, K) by [given, predicted].

    >>> confusion_counts(np.array([0, 1, 1]), np.array([0, 0, 1]), 2)
    array([[1., 0.],
           [1., 1.]])
    """
    cells = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes).astype(np.float64)


def balanced_accuracy(confusion: Counts) -> float:
    """Return the mean recall over classes with given labels.

    >>> balanced_accuracy(np.array([[2, 2], [0, 1]]))
    0.75
    """
    rows = confusion.sum(axis=1)
    some = rows > 0
    return float((np.diag(confusion)[some] / rows[some]).mean())


def macro_f1(confusion: Counts) -> float:
    """Return the mean F1 over classes with given labels or predictions.

    >>> round(macro_f1(np.array([[2, 2], [0, 1]])), 4)
    0.5833
    """
    either = confusion.sum(axis=0) + confusion.sum(axis=1)
    some = either > 0
    return float((2 * np.diag(confusion)[some] / either[some]).mean())


def quadratic_kappa(confusion: Counts) -> float:
    """Return Cohen's kappa with quadratic weights, for classes in order; 0 where one class is all there is.

    Cohen (1968), Psychological Bulletin 70, 213-220.

    >>> round(quadratic_kappa(np.array([[2, 2], [0, 1]])), 4)
    0.2857
    """
    place = np.arange(len(confusion))
    distance = (place[:, np.newaxis] - place) ** 2
    by_chance = np.outer(confusion.sum(axis=1), confusion.sum(axis=0)) / confusion.sum()
    expected = (distance * by_chance).sum()
    return float(1 - (distance * confusion).sum() / expected) if expected > 0 else 0.0


def interval_from_confusion(
    of: Metric,
    labels: Labels,
    predicted: Labels,
    num_classes: int,
    together: NDArray[np.intp] | None,
    *,
    confidence: float,
    seed: int,
) -> Estimate:
    """Return a metric of the confusion counts, with percentiles over draws of whole groups."""
    drawn = [of(each) for each in _drawn_confusions(labels, predicted, num_classes, together, seed)]
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    value = of(confusion_counts(labels, predicted, num_classes))
    return Estimate(value=value, low=float(low), high=float(high), num_rows=len(labels))


def _drawn_confusions(
    labels: Labels, predicted: Labels, num_classes: int, together: NDArray[np.intp] | None, seed: int
) -> Iterator[Counts]:
    """Yield confusion counts of draws of whole groups."""
    rng, shape = np.random.default_rng(seed), (num_classes, num_classes)
    if together is None:  # equal rows are drawn by their count: the cost is that of the cells
        shares = confusion_counts(labels, predicted, num_classes).ravel() / len(labels)
        for counts in rng.multinomial(len(labels), shares, size=NUM_DRAWS):
            yield counts.reshape(shape).astype(np.float64)
        return
    num_groups, cell = int(together.max()) + 1, labels * num_classes + predicted
    for _ in range(NUM_DRAWS):
        times = np.bincount(rng.integers(num_groups, size=num_groups), minlength=num_groups)
        counts = np.bincount(cell, weights=times[together], minlength=num_classes**2)
        yield counts.reshape(shape).astype(np.float64)


def _accuracy_on_true(
    predicted: Labels,
    true_labels: ArrayLike | None,
    num_classes: int,
    together: NDArray[np.intp] | None,
    options: Options,
) -> Estimate | None:
    if true_labels is None:
        return None
    known = np.asarray(true_labels) != UNKNOWN
    if not known.any():
        return None
    truth = np.where(known, true_labels, 0)
    check_labels(truth, num_rows=len(predicted), num_classes=num_classes)
    return proportion_of_rows(
        (predicted == truth)[known], groups=None if together is None else together[known], **options
    )


def _class_score(
    is_given: NDArray[np.bool_],
    is_predicted: NDArray[np.bool_],
    together: NDArray[np.intp] | None,
    options: Options,
) -> ClassScore:
    def among(rows: NDArray[np.bool_]) -> Estimate | None:
        if not rows.any():
            return None
        hits = (is_given & is_predicted)[rows]
        return proportion_of_rows(hits, groups=None if together is None else together[rows], **options)

    return ClassScore(recall=among(is_given), precision=among(is_predicted))


def _deviation_of_mean(residuals: NDArray[np.float64], together: NDArray[np.intp]) -> float:
    sums = np.bincount(together, residuals)
    sums = sums[np.bincount(together) > 0]
    if len(sums) < 2:
        return float("inf")
    return float(np.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1)) / len(residuals))


@dataclass(frozen=True, kw_only=True)
class Detection:
    """Detection of rows of a kind by a score, each number with its interval."""

    average_precision: Estimate
    chance: Estimate
    """Share of rows of the kind: the average precision of a random score."""
    precision: Estimate | None
    """None where no row lies above the cut."""
    recall: Estimate
    num_above: int


def detection(is_kind: ArrayLike, scores: ArrayLike, *, cut: float = 0.5, seed: int = 0) -> Detection:
    """Return precision and recall of rows with a score of `cut` or more, and average precision.

    `is_kind` (N,) is true for the rows to find, `scores` (N,) are higher for rows like these.

    >>> found = detection([True, True, False, False], [0.9, 0.6, 0.7, 0.1])
    >>> round(found.average_precision.value, 3), found.precision.value, found.recall.value
    (0.833, 0.6666666666666666, 1.0)
    """
    kind, values = _check_kind(is_kind, scores)
    above = values >= cut
    hits = int((above & kind).sum())
    drawn = drawn_precisions(kind, values, seed)
    return Detection(
        average_precision=_estimate(average_precision(kind, values), drawn, len(kind)),
        chance=proportion(int(kind.sum()), len(kind)),
        precision=proportion(hits, int(above.sum())) if above.any() else None,
        recall=proportion(hits, int(kind.sum())),
        num_above=int(above.sum()),
    )


def gain_in_average_precision(
    is_kind: ArrayLike, scores: ArrayLike, other_scores: ArrayLike, *, seed: int = 0
) -> Estimate:
    """Return the average precision of the first score less that of the other, on the same draws of rows.

    >>> gain = gain_in_average_precision([True, False] * 50, [0.9, 0.1] * 50, [0.5, 0.5] * 50)
    >>> round(gain.value, 2), gain.low > 0
    (0.5, True)
    """
    kind, values = _check_kind(is_kind, scores)
    _, others = _check_kind(is_kind, other_scores)
    value = average_precision(kind, values) - average_precision(kind, others)
    gains = drawn_precisions(kind, values, seed) - drawn_precisions(kind, others, seed)
    return _estimate(value, gains, len(kind))


def average_precision(is_kind: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Return the mean precision at the rows of the kind; rows of equal score count together.

    >>> average_precision(np.array([True, False, True]), np.array([3.0, 2.0, 1.0]))
    0.8333333333333333
    """
    return float(_precisions(is_kind, scores, [np.ones(len(scores), dtype=np.int64)])[0])


def drawn_precisions(is_kind: NDArray[np.bool_], scores: NDArray[np.float64], seed: int) -> Draws:
    """Return the average precision in draws of rows with replacement, the same draws for any score."""
    rng = np.random.default_rng(seed)
    return _precisions(is_kind, scores, (rng.poisson(size=len(scores)) for _ in range(NUM_DRAWS)))


def _precisions(
    is_kind: NDArray[np.bool_], scores: NDArray[np.float64], counts: Iterable[NDArray[np.int64]]
) -> Draws:
    """Return the average precision for each array (N,) of row counts."""
    order = np.argsort(-scores, kind="stable")
    last_of_equals = np.append(np.diff(scores[order]) != 0, True)
    results = []
    for count in counts:
        rows = count[order].cumsum()[last_of_equals]
        found = (count * is_kind)[order].cumsum()[last_of_equals]
        new = np.diff(found, prepend=0)
        results.append((new * found / rows.clip(min=1)).sum() / max(found[-1], 1))
    return np.array(results)


def _check_kind(is_kind: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return both as arrays that fit each other."""
    kind, values = np.asarray(is_kind), np.asarray(scores, dtype=np.float64)
    if kind.dtype != np.bool_ or kind.ndim != 1 or kind.shape != values.shape:
        raise InputError(
            f"is_kind has shape {kind.shape} of {kind.dtype}, scores have shape {values.shape}.",
            expected="Expected is_kind (N,) of bool and scores (N,).",
            remedy="Pass two arrays of N.",
        )
    if not np.isfinite(values).all():
        raise InputError("scores are not all finite.", remedy="Leave out the rows without a score.")
    if kind.all() or not kind.any():
        raise InputError(
            f"{int(kind.sum())} of {len(kind)} rows are of the kind.",
            expected="Expected rows of both kinds.",
            remedy="Add rows of the other kind.",
        )
    return kind, values


def _estimate(value: float, drawn: Draws, num_rows: int) -> Estimate:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(value=value, low=float(low), high=float(high), num_rows=num_rows)


NUM_DRAWS = 1000  # of the bootstrap; its 2.5 % point then rests on 25 draws
