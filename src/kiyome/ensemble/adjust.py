"""One model's predictions adjusted, each fold by the others: temperature, and label-error distribution.

N rows, K classes, F folds. Calibration error is measured in evaluation/diagnostics.py.

    direction "given"   p @ T, T[true, given] = P(given | true): from a model of true classes to given labels
    direction "true"    p @ P, P[given, true] = P(true | given): from a model of given labels to true classes

A model that was trained on the given labels already predicts these: p @ T would apply the noise twice.
Likewise p @ P would remove it twice from a model of true classes. Both need `allow_double_noise`.
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
    """Calibrated probabilities, and the fitted temperatures."""

    pred_probs: Probs
    """(N, K) each row by the temperature of the other folds."""
    temperature_by_fold: dict[int, float]
    """For each fold, the temperature of its rows."""
    temperature: float
    """Fitted on all rows: for new photos. Above one the model is too sure."""


def calibrate_pred_probs(labels: ArrayLike, pred_probs: ArrayLike, folds: ArrayLike) -> Calibration:
    """Calibrate probabilities by the temperature of the *other* folds, and fit one for new photos.

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
        Unsuitable arrays.

    Notes
    -----
    Guo et al. (2017), "On Calibration of Modern Neural Networks", arXiv 1706.04599. The likeliest class of
    a row does not change. The labels may be wrong: confidence is calibrated to the *given* label, and is
    lower than for the true one.

    Examples
    --------
    >>> sure = np.tile([[0.99, 0.01]], (8, 1))
    >>> calibrated = calibrate_pred_probs([0, 0, 0, 1] * 2, sure, [0] * 4 + [1] * 4)
    >>> calibrated.pred_probs[0].round(3)
    array([0.75, 0.25])
    """
    probs = check_one(pred_probs)
    given = check_given(labels, *probs.shape)
    fold_of_row = check_folds(folds, len(given))
    by_fold = {fold: _temperature(given[~held], probs[~held]) for fold, held in held_out(fold_of_row)}
    calibrated = np.empty_like(probs)
    for fold, held in held_out(fold_of_row):
        calibrated[held] = at_temperature(probs[held], by_fold[fold])
    return Calibration(
        pred_probs=calibrated, temperature_by_fold=by_fold, temperature=_temperature(given, probs)
    )


def fit_temperature(labels: ArrayLike, pred_probs: ArrayLike) -> float:
    """Return the temperature of largest likelihood of the given labels; above one, the model is too sure.

    The arrays are those of `calibrate_pred_probs`. Do not score the rows that it was fitted on.

    Examples
    --------
    >>> round(fit_temperature([0, 0, 0, 1], [[0.9, 0.1]] * 4), 2)
    2.0
    """
    probs = check_one(pred_probs)
    return _temperature(check_given(labels, *probs.shape), probs)


def at_temperature(pred_probs: ArrayLike, temperature: float) -> Probs:
    """Return p ** (1 / temperature), rows at one.

    >>> at_temperature([[0.9, 0.1]], 2.0).round(2)
    array([[0.75, 0.25]])
    """
    if not temperature > 0:
        raise InputError(
            f"temperature={temperature}: expected a number above zero.", remedy="Pass 1 to change nothing."
        )
    return softmax(floored_log(np.asarray(pred_probs, dtype=np.float64)) / temperature)


def _temperature(labels: Labels, probs: Probs) -> float:
    """Return the temperature by Newton's steps on its inverse, in which the log loss is convex."""
    scores = floored_log(probs)
    given, power = scores[np.arange(len(labels)), labels], 1.0
    for _ in range(NEWTON_ROUNDS):
        q = softmax(power * scores)
        means = (q * scores).sum(axis=1)
        slope = float((given - means).sum())
        curvature = float(((q * scores**2).sum(axis=1) - means**2).sum())
        before, step = power, slope / max(curvature, 1e-12)
        power = float(np.clip(power + step, power / 2, power * 2))  # far from the end steps overshoot
        if abs(power - before) < CONVERGED * power:
            break
    return 1 / float(np.clip(power, *POWER_RANGE))


DIRECTIONS, ROWS = ("given", "true"), ("all", "flagged", "disagree")
APPLY_TO = ("run", "clean")
"""Whose predictions are corrected where two models disagree, in the order in which the models come."""

MATRICES: dict[str, Callable[..., NDArray[np.float64]]] = {
    "given": transition_matrix,
    "true": posterior_matrix,
}
"""For each direction, the matrix (K, K) whose row is what you condition on."""

TWICE = {
    "given": "the model estimates given labels and P(given | true) is applied: the noise counts twice",
    "true": "the model estimates true classes and P(true | given) is applied: the noise is removed twice",
}
FLAG_LEAK = (
    "rows were selected by their own labels, which new photos do not have: they cannot reach this score"
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
    """Caveats, each a sentence."""


def correct_pred_probs(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    folds: ArrayLike,
    *,
    estimates: str,
    direction: str = "given",
    rows: str = "all",
    noise_from: ArrayLike | None = None,
    clean_pred_probs: ArrayLike | None = None,
    apply_to: str = "run",
    allow_double_noise: bool = False,
) -> Correction:
    """Apply the label-error distribution to predictions, on all rows or on those that look noisy.

    Parameters
    ----------
    labels
        (N,) given labels, whole numbers from 0 to K-1.
    pred_probs
        (N, K) out-of-fold probabilities, rows sum to one.
    folds
        (N,) the folds that they were made on, at least two.
    estimates
        What the corrected model estimates: "given" labels, if it was trained on these; or "true" classes, if
        it was trained on cleaned labels, or with a forward-corrected loss.
    direction
        To "given" labels by P(given | true), or to the "true" class by P(true | given).
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
    allow_double_noise
        Apply a matrix that counts the noise twice; a note says so.

    Raises
    ------
    InputError
        Noise that would count twice; a clean model that is missing or not needed; unsuitable arrays.

    Notes
    -----
    The matrix for the rows of a fold is estimated without that fold's labels. P(given | true) is exact for
    noise that depends on the class alone; P(true | given) ignores the photo beyond its label, a crude
    approximation. Predictions of given labels gained by neither direction: -0.10 to 0.00 points on
    given labels of cassava and of CIFAR-10N's majority, -0.06 to +0.02 on the latter's true labels
    (benchmarks/cassava_diary.py, benchmarks/blend_cifar10.py).

    Examples
    --------
    >>> pred_probs = np.tile([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.95, 0.05]], (2, 1))
    >>> labels, folds = [0, 0, 1, 1, 1] * 2, [0] * 5 + [1] * 5
    >>> corrected = correct_pred_probs(labels, pred_probs, folds, estimates="true", direction="given")
    >>> corrected.pred_probs[0].round(3)
    array([0.6, 0.4])
    >>> correct_pred_probs(labels, pred_probs, folds, estimates="given", direction="given")
    Traceback (most recent call last):
        ...
    kiyome.errors.InputError: The model estimates given labels and P(given | true) is applied: the noise \
counts twice. Choose the other direction, correct a model of the other kind, or pass allow_double_noise=True.
    """
    probs = check_one(pred_probs)
    given = check_given(labels, *probs.shape)
    fold_of_row = check_folds(folds, len(given))
    source = probs if noise_from is None else _same_shape("noise_from", noise_from, probs)
    notes = _notes(estimates, direction, rows, allow_double_noise=allow_double_noise)
    chosen = _chosen(given, probs, rows, clean_pred_probs)
    choose("apply_to", apply_to, APPLY_TO if rows == "disagree" else APPLY_TO[:1])
    replaced = probs if clean_pred_probs is None or apply_to == "run" else check_one(clean_pred_probs)
    corrected = probs.copy()
    for _, held in held_out(fold_of_row):
        matrix = MATRICES[direction](given[~held], source[~held])
        at = held & chosen
        corrected[at] = apply_error_distribution(replaced[at], matrix)
    return Correction(
        pred_probs=corrected, rows=chosen, matrix=MATRICES[direction](given, source), notes=notes
    )


def apply_error_distribution(pred_probs: ArrayLike, matrix: ArrayLike) -> Probs:
    """Return p @ matrix (N, K): each class replaced by the distribution in its row of `matrix` (K, K).

    >>> apply_error_distribution([[0.9, 0.1]], [[0.75, 0.25], [0.0, 1.0]]).round(3)
    array([[0.675, 0.325]])
    """
    return normalized(np.asarray(pred_probs, dtype=np.float64) @ np.asarray(matrix, dtype=np.float64))


def disagreeing(pred_probs: ArrayLike, clean_pred_probs: ArrayLike) -> Mask:
    """Return a mask (N,) of rows where two models' likeliest classes differ.

    >>> disagreeing([[0.9, 0.1], [0.9, 0.1]], [[0.6, 0.4], [0.4, 0.6]])
    array([False,  True])
    """
    differ: Mask = np.asarray(pred_probs).argmax(axis=1) != np.asarray(clean_pred_probs).argmax(axis=1)
    return differ


def _notes(estimates: str, direction: str, rows: str, *, allow_double_noise: bool) -> tuple[str, ...]:
    for what, name in (("estimates", estimates), ("direction", direction)):
        choose(what, name, DIRECTIONS)
    choose("rows", rows, ROWS)
    if estimates == direction and not allow_double_noise:
        raise InputError(
            f"T{TWICE[direction][1:]}.",
            remedy="Choose the other direction, correct a model of the other kind, or pass"
            " allow_double_noise=True.",
        )
    twice = (TWICE[direction],) if estimates == direction else ()
    return (*twice, FLAG_LEAK) if rows == "flagged" else twice


def _chosen(labels: NDArray[np.intp], probs: Probs, rows: str, clean: ArrayLike | None) -> Mask:
    if (rows == "disagree") != (clean is not None):
        raise InputError(
            f'rows="{rows}" {"without" if clean is None else "with"} clean_pred_probs.',
            expected='Expected both rows="disagree" and clean_pred_probs, or neither.',
            remedy="Pass predictions of a model trained without the flagged rows, or leave them out.",
        )
    if clean is not None:
        return disagreeing(probs, _same_shape("clean_pred_probs", clean, probs))
    return find_label_issues(labels, probs) if rows == "flagged" else np.ones(len(labels), dtype=np.bool_)


def _same_shape(name: str, other: ArrayLike, probs: Probs) -> Probs:
    checked = check_one(other)
    if checked.shape != probs.shape:
        raise InputError(
            f"{name} has shape {checked.shape}, pred_probs has {probs.shape}.",
            expected="Expected the same rows and classes.",
            remedy="Predict the same rows.",
        )
    return checked
