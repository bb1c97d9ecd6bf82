"""Predictions carried from the truth to given labels, or back, by what the confident joint says of errors.

N rows, K classes, F folds.

    reading "given"   p @ T, T[true, given] = P(given | true): what a model of the truth should say of labels
    reading "true"    p @ P, P[given, true] = P(true | given): what a model of labels should say of the truth

A model that was trained on the given labels already says how they are given: p @ T would apply the noise
twice. Likewise p @ P takes it out of a model of the truth once more. Both are refused unless asked for.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.artifacts.predictions import floored_log
from kiyome.ensemble.validation import (
    Labels,
    Mask,
    Probs,
    check_folds,
    check_given,
    check_one,
    held_out,
    normalized,
    softmax,
)
from kiyome.errors import InputError, choose
from kiyome.noise import find_label_issues, posterior_matrix, transition_matrix

POWER_RANGE = 0.02, 50.0  # beyond it a predictor is one-hot or blind, and no temperature helps
NEWTON_ROUNDS = 30
CONVERGED = 1e-12  # of the power; Newton doubles the digits at each step


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """Probabilities at the temperature that the given labels ask for."""

    pred_probs: Probs
    """(N, K) each row by the temperature of the other folds."""
    temperature_by_fold: dict[int, float]
    """For each fold, the temperature that its rows got."""
    temperature: float
    """Fitted on all rows: for new photos. Above one the model was too sure."""


def calibrate_pred_probs(labels: ArrayLike, pred_probs: ArrayLike, folds: ArrayLike) -> Calibration:
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
    return Calibration(
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


READINGS, ROWS = ("given", "true"), ("all", "flagged", "disagree")
APPLY_TO = ("run", "clean")
"""Whose predictions are corrected where two models disagree, in the order in which the models come."""

MATRICES: dict[str, Callable[..., NDArray[np.float64]]] = {
    "given": transition_matrix,
    "true": posterior_matrix,
}
"""For each reading, the matrix (K, K) whose row is what is conditioned on."""

TWICE = {
    "given": "the model estimates given labels and P(given | true) is applied: the noise counts twice",
    "true": "the model estimates the truth and P(true | given) is applied: the noise is taken out twice",
}
FLAG_LEAK = (
    "rows were chosen by their own labels, which new photos do not have: this score cannot be had on them"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Correction:
    """Predictions after the error distribution was applied to some rows."""

    pred_probs: Probs
    """(N, K) each row by the matrix of the other folds."""
    rows: Mask
    """(N,) rows that it was applied to."""
    matrix: NDArray[np.float64]
    """(K, K) of all rows: for new photos. The row is what is conditioned on."""
    notes: tuple[str, ...]
    """What people should hear of it."""


def correct_pred_probs(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    folds: ArrayLike,
    *,
    estimates: str,
    reading: str = "given",
    rows: str = "all",
    noise_from: ArrayLike | None = None,
    clean_pred_probs: ArrayLike | None = None,
    apply_to: str = "run",
    anyway: bool = False,
) -> Correction:
    """Predictions with the label-error distribution applied to all rows, or to those that look noisy.

    Parameters
    ----------
    labels
        (N,) given labels, whole numbers from 0 to K-1.
    pred_probs
        (N, K) out-of-fold probabilities, rows sum to one.
    folds
        (N,) the folds that they were made on, at least two.
    estimates
        What the model says whose predictions are corrected: "given", as a model does that was trained on
        labels as they are; or "true", as one does that was trained on cleaned labels, or through a
        forward-corrected loss.
    reading
        Where to carry it: to "given" labels by P(given | true), or to the "true" class by P(true | given).
    rows
        "all"; "flagged", rows that `find_label_issues` flags, by their own labels; or "disagree", rows where
        `clean_pred_probs` has another likeliest class.
    noise_from
        (N, K) out-of-fold probabilities of a model of the given labels, from which the noise is estimated;
        `pred_probs` if not given.
    clean_pred_probs
        (N, K) out of fold, of a model that was trained without the flagged rows; for "disagree" only.
    apply_to
        For "disagree": whose predictions are corrected on the rows that differ, `pred_probs` ("run") or
        `clean_pred_probs` ("clean"). `pred_probs` stand on all other rows.
    anyway
        Do what would count the noise twice; the notes say so.

    Raises
    ------
    InputError
        Where the noise would count twice; a clean model that is missing or not asked for; arrays that break
        a stated rule.

    Notes
    -----
    The matrix for the rows of a fold is estimated without that fold's labels. P(given | true) is exact for
    noise that depends on the class alone; P(true | given) takes the photo to say nothing beyond its label,
    which is a crude stand-in. Predictions of given labels gained by neither reading: -0.10 to 0.00 points on
    given labels of cassava and of CIFAR-10N's majority, -0.06 to +0.02 on the latter's true labels
    (benchmarks/cassava_diary.py, benchmarks/blend_cifar10.py).

    Examples
    --------
    >>> pred_probs = np.tile([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.95, 0.05]], (2, 1))
    >>> labels, folds = [0, 0, 1, 1, 1] * 2, [0] * 5 + [1] * 5
    >>> corrected = correct_pred_probs(labels, pred_probs, folds, estimates="true", reading="given")
    >>> corrected.pred_probs[0].round(3)
    array([0.6, 0.4])
    >>> correct_pred_probs(labels, pred_probs, folds, estimates="given", reading="given")
    Traceback (most recent call last):
        ...
    kiyome.errors.InputError: The error distribution carries predictions from what the model estimates to \
what it does not. Came: the model estimates given labels and P(given | true) is applied: the noise counts \
twice. Choose the other reading, correct a model of the other kind, or pass anyway=True.
    """
    probs = check_one(pred_probs)
    given = check_given(labels, *probs.shape)
    dealt = check_folds(folds, len(given))
    source = probs if noise_from is None else _same_shape("noise_from", noise_from, probs)
    notes = _notes(estimates, reading, rows, anyway=anyway)
    chosen = _chosen(given, probs, rows, clean_pred_probs)
    choose("apply_to", apply_to, APPLY_TO if rows == "disagree" else APPLY_TO[:1])
    replaced = probs if clean_pred_probs is None or apply_to == "run" else check_one(clean_pred_probs)
    corrected = probs.copy()
    for _, held in held_out(dealt):
        matrix = MATRICES[reading](given[~held], source[~held])
        at = held & chosen
        corrected[at] = apply_error_distribution(replaced[at], matrix)
    return Correction(pred_probs=corrected, rows=chosen, matrix=MATRICES[reading](given, source), notes=notes)


def apply_error_distribution(pred_probs: ArrayLike, matrix: ArrayLike) -> Probs:
    """Rows p @ matrix (N, K): each class replaced by the distribution in its row of `matrix` (K, K).

    >>> apply_error_distribution([[0.9, 0.1]], [[0.75, 0.25], [0.0, 1.0]]).round(3)
    array([[0.675, 0.325]])
    """
    return normalized(np.asarray(pred_probs, dtype=np.float64) @ np.asarray(matrix, dtype=np.float64))


def disagreeing(pred_probs: ArrayLike, clean_pred_probs: ArrayLike) -> Mask:
    """A mask (N,) of rows where two models' likeliest classes differ.

    >>> disagreeing([[0.9, 0.1], [0.9, 0.1]], [[0.6, 0.4], [0.4, 0.6]])
    array([False,  True])
    """
    differ: Mask = np.asarray(pred_probs).argmax(axis=1) != np.asarray(clean_pred_probs).argmax(axis=1)
    return differ


def _notes(estimates: str, reading: str, rows: str, *, anyway: bool) -> tuple[str, ...]:
    for what, name in (("estimates", estimates), ("reading", reading)):
        choose(what, name, READINGS)
    choose("rows", rows, ROWS)
    if estimates == reading and not anyway:
        raise InputError(
            "The error distribution carries predictions from what the model estimates to what it does not.",
            came=TWICE[reading],
            remedy="Choose the other reading, correct a model of the other kind, or pass anyway=True.",
        )
    twice = (TWICE[reading],) if estimates == reading else ()
    return (*twice, FLAG_LEAK) if rows == "flagged" else twice


def _chosen(labels: NDArray[np.intp], probs: Probs, rows: str, clean: ArrayLike | None) -> Mask:
    if (rows == "disagree") != (clean is not None):
        raise InputError(
            'A clean model goes with rows="disagree", and is needed there.',
            came=f'rows="{rows}" {"without one" if clean is None else "and one"}',
            remedy="Pass out-of-fold predictions of a model that was trained without the flagged rows.",
        )
    if clean is not None:
        return disagreeing(probs, _same_shape("clean_pred_probs", clean, probs))
    return find_label_issues(labels, probs) if rows == "flagged" else np.ones(len(labels), dtype=np.bool_)


def _same_shape(name: str, other: ArrayLike, probs: Probs) -> Probs:
    checked = check_one(other)
    if checked.shape != probs.shape:
        raise InputError(
            f"{name} has the rows and classes of pred_probs.",
            came=f"shapes {checked.shape} and {probs.shape}",
            remedy="Predict the same rows.",
        )
    return checked
