"""Diagnostics of predictions: reliability, calibration error, signs of labels seen in training. N rows."""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.checks import check_scored
from kiyome.errors import InputError
from kiyome.estimates import Estimate, proportion

NUM_BINS = 15


@dataclass(frozen=True, kw_only=True, eq=False)
class ReliabilityCurve:
    """Confidence and accuracy of rows in B bins of (almost) equal counts."""

    confidence: NDArray[np.float64]
    """(B,) mean of the largest probability."""
    num_rows: NDArray[np.int64]
    """(B,) rows of each bin."""
    num_right: NDArray[np.int64]
    """(B,) of these, rows whose likeliest class is the given label."""

    @property
    def accuracy_on_given(self) -> NDArray[np.float64]:
        """(B,) share of right rows."""
        return self.num_right / self.num_rows


def reliability_curve(
    labels: ArrayLike, pred_probs: ArrayLike, *, num_bins: int = NUM_BINS
) -> ReliabilityCurve:
    """Return confidence and accuracy on given labels, from the least to the most confident rows.

    `labels` (N,) are given, `pred_probs` (N, K) out of fold; with fewer rows than `num_bins` there are fewer
    bins.

    >>> curve = reliability_curve([0, 0, 1, 1], [[0.9, 0.1], [0.6, 0.4], [0.6, 0.4], [0.1, 0.9]], num_bins=2)
    >>> curve.confidence, curve.accuracy_on_given
    (array([0.6, 0.9]), array([0.5, 1. ]))
    """
    given, probs = check_scored(labels, pred_probs)
    if num_bins < 1:
        raise InputError(f"num_bins={num_bins}: expected one or more.", remedy="Pass 15.")
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == given
    bins = np.array_split(np.argsort(confidence, kind="stable"), min(num_bins, len(given)))
    return ReliabilityCurve(
        confidence=np.array([confidence[rows].mean() for rows in bins]),
        num_rows=np.array([len(rows) for rows in bins]),
        num_right=np.array([right[rows].sum() for rows in bins]),
    )


@dataclass(frozen=True, kw_only=True)
class CalibrationError:
    """The distance between confidence and accuracy on given labels, from 0 to 1."""

    value: float
    """Root of the mean squared gap over bins, less the part that sampling error adds."""
    low: float
    high: float
    """95 % interval of `value`."""
    mean_gap: float
    """The usual expected calibration error: the mean absolute gap, which sampling error enlarges."""
    num_rows: int
    num_bins: int


def calibration_error(
    labels: ArrayLike, pred_probs: ArrayLike, *, num_bins: int = NUM_BINS
) -> CalibrationError:
    """Return the debiased calibration error of the likeliest class, over bins of equal counts.

    The plain expected calibration error of a perfect model is above zero, by sampling error. Here the
    variance of each bin's accuracy is subtracted from its squared gap: the estimator of Kumar, Liang and Ma
    (2019), "Verified Uncertainty Calibration", arXiv 1909.10155. The interval takes gaps as normal. Bins
    average what changes inside them: the error is a lower bound.

    >>> error = calibration_error([0, 1] * 500, [[0.8, 0.2]] * 1000, num_bins=1)
    >>> round(error.value, 3), round(error.low, 3), round(error.high, 3), round(error.mean_gap, 3)
    (0.3, 0.267, 0.329, 0.3)
    """
    curve = reliability_curve(labels, pred_probs, num_bins=num_bins)
    accuracy, rows = curve.accuracy_on_given, curve.num_rows
    gap, share = accuracy - curve.confidence, rows / rows.sum()
    by_chance = accuracy * (1 - accuracy) / np.maximum(rows - 1, 1)
    squared = float(share @ (gap**2 - by_chance))
    spread = sqrt(float(share**2 @ (4 * gap**2 * by_chance + 2 * by_chance**2)))
    half = NormalDist().inv_cdf(0.975) * spread
    return CalibrationError(
        value=sqrt(max(squared, 0.0)),
        low=sqrt(max(squared - half, 0.0)),
        high=sqrt(max(squared + half, 0.0)),
        mean_gap=float(share @ np.abs(gap)),
        num_rows=int(rows.sum()),
        num_bins=len(rows),
    )


MOST_REPEATED = 0.4  # of labels known to be wrong; models that had not seen them repeated 0 to 13 %
MOST_SUSPECTS_REPEATED = (
    0.8  # of labels that another model contradicts; it errs, too: up to 66 % on clean labels
)
SURE = 0.9  # another model's probability for another class, from which it contradicts a label


def repeated_mistakes(labels: ArrayLike, predicted: ArrayLike, is_suspect: ArrayLike) -> Estimate | None:
    """Return the share of suspect labels (N,) that a model predicts; None where no row is suspect.

    Suspect are labels that are wrong, or that another model contradicts which did not see them either.

    >>> repeated_mistakes([0, 1, 1, 1], [0, 1, 1, 0], [False, True, True, True]).value
    0.6666666666666666
    """
    given, model, suspect = (np.asarray(each) for each in (labels, predicted, is_suspect))
    if given.shape != model.shape or suspect.shape != given.shape or suspect.dtype != np.bool_:
        raise InputError(
            f"The arrays have shapes {given.shape}, {model.shape}, {suspect.shape} of {suspect.dtype}.",
            expected="Expected labels, predicted classes and suspects (bool) of N rows.",
            remedy="Pass three arrays of N.",
        )
    if not suspect.any():
        return None
    return proportion(int((given == model)[suspect].sum()), int(suspect.sum()))


def contradicts_label(labels: NDArray[np.integer], pred_probs: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return a mask (N,) of rows where a model is sure of another class than the given label.

    >>> contradicts_label(np.array([0, 0]), np.array([[0.05, 0.95], [0.4, 0.6]]))
    array([ True, False])
    """
    against: NDArray[np.bool_] = (pred_probs.argmax(axis=1) != labels) & (pred_probs.max(axis=1) >= SURE)
    return against


def caveat_of_seen_labels(
    repeated: Estimate | None, known_by: str, *, most: float = MOST_SUSPECTS_REPEATED
) -> str | None:
    """Return a caveat for predictions that repeat more mistakes than `most`, else None.

    A forest that saw its labels repeats all mistakes, a small network 59 to 88 %, a linear head 1 to 11 %, no
    more than one that did not see them: without a caveat nothing is proved.

    >>> caveat_of_seen_labels(proportion(58, 60), "true labels")[:60]
    'repeats 96.7 % (88.6 to 99.1 %, n = 60) of the labels that a'
    >>> caveat_of_seen_labels(proportion(6, 60), "true labels")
    """
    if repeated is None or repeated.low < most:
        return None
    return (
        f"repeats {repeated.as_percent()} of the labels that are wrong according to {known_by}, which"
        " out-of-fold predictions rarely do: are these in-sample?"
    )
