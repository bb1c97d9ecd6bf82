"""Probabilities that mean what they say: temperature, fitted out of fold. N rows, K classes, F folds.

How far they were off is measured in evaluate/calibration.py.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kiyome.artifacts.predictions import floored_log
from kiyome.ensemble.validation import (
    Labels,
    Probs,
    check_folds,
    check_given,
    check_one,
    held_out,
    softmax,
)
from kiyome.errors import InputError

POWER_RANGE = 0.02, 50.0  # beyond it a predictor is one-hot or blind, and no temperature helps
NEWTON_ROUNDS = 30
CONVERGED = 1e-12  # of the power; Newton doubles the digits at each step


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
    return softmax(floored_log(np.asarray(pred_probs, dtype=np.float64)) / temperature)


def _temperature(labels: Labels, probs: Probs) -> float:
    """Newton's steps on the power 1 / temperature, in which the log loss is convex."""
    scores = floored_log(probs)
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
