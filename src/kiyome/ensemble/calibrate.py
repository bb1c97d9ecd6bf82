"""Probabilities that mean what they say: temperature, fitted out of fold, and how far they were off.

N rows, K classes, F folds, B bins.
"""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.ensemble.checked import (
    Labels,
    Probs,
    check_folds,
    check_given,
    check_one,
    held_out,
    logs,
    softmax,
)
from kiyome.errors import InputError

POWER_RANGE = 0.02, 50.0  # beyond it a predictor is one-hot or blind, and no temperature helps
NEWTON_ROUNDS = 30
CONVERGED = 1e-12  # of the power; Newton doubles the digits at each step
NUM_BINS = 15


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibrated:
    """Probabilities at the temperature that the given labels ask for."""

    pred_probs: Probs
    """(N, K) each row by the temperature of the other folds."""
    temperature_by_fold: dict[int, float]
    """For each fold, the temperature that its rows got."""
    temperature: float
    """Fitted on all rows: for new photos. Above one the model was too sure."""


def calibrate_pred_probs(labels: ArrayLike, pred_probs: ArrayLike, folds: ArrayLike) -> Calibrated:
    """Probabilities brought to the temperature that the *other* folds ask for, and one for new photos.

    Parameters
    ----------
    labels
        (N,) given labels, whole numbers from 0 to K-1.
    pred_probs
        (N, K) out-of-fold probabilities, rows sum to one.
    folds
        (N,) the folds that they were made on, at least two.

    Raises
    ------
    InputError
        Arrays that break a stated rule.

    Notes
    -----
    Guo et al. (2017), "On Calibration of Modern Neural Networks", arXiv 1706.04599. The likeliest class of
    a row does not change. The labels may be wrong: calibrated is how sure one can be of the *given* label,
    which on noisy labels is less than of the truth.

    Examples
    --------
    >>> sure = np.tile([[0.99, 0.01]], (8, 1))
    >>> calibrated = calibrate_pred_probs([0, 0, 0, 1] * 2, sure, [0] * 4 + [1] * 4)
    >>> calibrated.pred_probs[0].round(3)
    array([0.75, 0.25])
    """
    probs = check_one(pred_probs)
    given = check_given(labels, *probs.shape)
    dealt = check_folds(folds, len(given))
    by_fold = {fold: _temperature(given[~held], probs[~held]) for fold, held in held_out(dealt)}
    calibrated = np.empty_like(probs)
    for fold, held in held_out(dealt):
        calibrated[held] = at_temperature(probs[held], by_fold[fold])
    return Calibrated(
        pred_probs=calibrated, temperature_by_fold=by_fold, temperature=_temperature(given, probs)
    )


def fit_temperature(labels: ArrayLike, pred_probs: ArrayLike) -> float:
    """The temperature at which the given labels are most likely; above one, the model was too sure.

    Takes the arrays of `calibrate_pred_probs`, without folds: do not score the rows that it was fitted on.

    Examples
    --------
    >>> round(fit_temperature([0, 0, 0, 1], [[0.9, 0.1]] * 4), 2)
    2.0
    """
    probs = check_one(pred_probs)
    return _temperature(check_given(labels, *probs.shape), probs)


def at_temperature(pred_probs: ArrayLike, temperature: float) -> Probs:
    """Rows of p ** (1 / temperature), brought to one.

    >>> at_temperature([[0.9, 0.1]], 2.0).round(2)
    array([[0.75, 0.25]])
    """
    if not temperature > 0:
        raise InputError("A temperature is above zero.", came=str(temperature), remedy="One changes nothing.")
    return softmax(logs(np.asarray(pred_probs, dtype=np.float64)) / temperature)


def _temperature(labels: Labels, probs: Probs) -> float:
    """Newton's steps on the power 1 / temperature, in which the log loss is convex."""
    scores = logs(probs)
    own, power = scores[np.arange(len(labels)), labels], 1.0
    for _ in range(NEWTON_ROUNDS):
        q = softmax(power * scores)
        means = (q * scores).sum(axis=1)
        slope = float((own - means).sum())
        curvature = float(((q * scores**2).sum(axis=1) - means**2).sum())
        before, step = power, slope / max(curvature, 1e-12)
        power = float(np.clip(power + step, power / 2, power * 2))  # far from the end steps overshoot
        if abs(power - before) < CONVERGED * power:
            break
    return 1 / float(np.clip(power, *POWER_RANGE))


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
    probs = check_one(pred_probs)
    given = check_given(labels, *probs.shape)
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
