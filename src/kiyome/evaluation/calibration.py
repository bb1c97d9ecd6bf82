"""How far confidence is from accuracy on given labels: reliability and calibration error.

N rows, K classes, B bins.
"""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.checks import check_scored
from kiyome.errors import InputError

NUM_BINS = 15


@dataclass(frozen=True, kw_only=True, eq=False)
class ReliabilityCurve:
    """How often rows of a confidence are right, in bins of (almost) as many rows each. B bins."""

    confidence: NDArray[np.float64]
    """(B,) mean of the largest probability."""
    num_rows: NDArray[np.int64]
    """(B,) rows of each bin."""
    num_right: NDArray[np.int64]
    """(B,) of them, rows whose likeliest class is the given label."""

    @property
    def accuracy_on_given(self) -> NDArray[np.float64]:
        """(B,) share of right rows."""
        return self.num_right / self.num_rows


def reliability_curve(
    labels: ArrayLike, pred_probs: ArrayLike, *, num_bins: int = NUM_BINS
) -> ReliabilityCurve:
    """Confidence and accuracy on given labels, from the least to the most confident rows.

    Parameters
    ----------
    labels, pred_probs
        (N,) given labels and (N, K) probabilities of rows that the model has not seen.
    num_bins
        B; fewer where there are fewer rows.

    Examples
    --------
    >>> curve = reliability_curve([0, 0, 1, 1], [[0.9, 0.1], [0.6, 0.4], [0.6, 0.4], [0.1, 0.9]], num_bins=2)
    >>> curve.confidence, curve.accuracy_on_given
    (array([0.6, 0.9]), array([0.5, 1. ]))
    """
    given, probs = check_scored(labels, pred_probs)
    if num_bins < 1:
        raise InputError("There is a bin or more.", came=f"num_bins={num_bins}", remedy="Say 15.")
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == given
    bins = np.array_split(np.argsort(confidence, kind="stable"), min(num_bins, len(given)))
    return ReliabilityCurve(
        confidence=np.array([confidence[rows].mean() for rows in bins]),
        num_rows=np.array([len(rows) for rows in bins]),
        num_right=np.array([right[rows].sum() for rows in bins]),
    )


@dataclass(frozen=True, kw_only=True)
class CalibrationError:
    """How far confidence is from accuracy on given labels, in shares of one."""

    value: float
    """Root of the mean squared gap over bins, what chance adds to it taken off."""
    low: float
    high: float
    """95 % interval of `value`."""
    mean_gap: float
    """The usual expected calibration error: the mean absolute gap, which chance enlarges."""
    num_rows: int
    num_bins: int


def calibration_error(
    labels: ArrayLike, pred_probs: ArrayLike, *, num_bins: int = NUM_BINS
) -> CalibrationError:
    """The debiased calibration error of the likeliest class, with an interval.

    Parameters
    ----------
    labels, pred_probs, num_bins
        As for `reliability_curve`: bins of as many rows each.

    Notes
    -----
    The plain expected calibration error is above zero for a perfect model, by chance alone. Here the variance
    of each bin's accuracy is taken off its squared gap: the estimator of Kumar, Liang and Ma (2019),
    "Verified Uncertainty Calibration", arXiv 1909.10155. The interval takes gaps as normal. Bins hide what
    changes inside them: the error is a lower bound.

    Examples
    --------
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
