"""From two models to probabilities: three readings of their scores, each calibrated on held-out rows.

    logistic regression ─► logits ──────────────────────┐
    kernel ridge ─► scores ─┬─ logarithm, above a floor ─┼─► times sharpness ─► mean ─► softmax
                            └─ as they are ──────────────┘

Squared loss pulls probabilities together. Where few labels are wrong, the logarithm of a ridge score ranks
them best; where many are, the score itself as a logit does, and keeps the noise rate. Hence both.
n rows, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.predictions import floored_log
from kiyome.cores import one_blas_thread
from kiyome.features.inputs import InputMap, Inputs
from kiyome.features.ridge import Ridge
from kiyome.features.targets import shares_of

Floats = NDArray[np.float32]

LEAST_SCORE = 0.01
"""Times 1/K: the floor under a ridge score before its logarithm is taken."""
MOST_ROWS = 20_000
"""Rows that one factor is fitted on, and that a strength is chosen on."""
LOG_SHARPNESS = (-4.0, 8.0)
"""Where the logarithm of a factor is looked for."""


class Head(NamedTuple):
    """The two models of one fold, and the factors that calibrate their three readings."""

    logistic: Floats
    """(R + 1, K) coefficients on components."""
    ridge: Ridge
    sharpness: tuple[float, ...]
    """One for each reading."""

    def pred_probs(self, inputs: Inputs) -> Floats:
        """Return (n, K), rows sum to one: the geometric mean of the calibrated readings."""
        readings = [inputs.components @ self.logistic, *ridge_readings(self.ridge, inputs.likeness)]
        factors = np.array(self.sharpness, np.float32) / len(readings)
        return softmax(sum(factor * each for factor, each in zip(factors, readings, strict=True)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Heads:
    """The heads of all folds, for new photos."""

    input_map: InputMap
    of_folds: tuple[Head, ...]
    power: float
    """Calibrates their probabilities; fitted on those out of fold."""

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.of_folds[0].ridge.shares)

    def pred_probs(self, features: NDArray[Any]) -> Floats:
        """Return (n, K), rows sum to one: the calibrated mean over folds."""
        return self.of_inputs(self.input_map(features))

    @one_blas_thread()
    def of_inputs(self, inputs: Inputs) -> Floats:
        """Return the same for photos whose inputs are at hand."""
        mean = np.mean([head.pred_probs(inputs) for head in self.of_folds], axis=0)
        return softmax(np.float32(self.power) * floored_log(mean))


class HeldOut(NamedTuple):
    """Rows on which models are compared that were not fitted on them."""

    inputs: Inputs
    targets: NDArray[Any]
    """(n,) labels, or (n, K) shares."""
    weights: Floats


class Trial(NamedTuple):
    """How a model of one strength does on held-out rows."""

    loss: float
    """Summed log loss after calibration."""
    sharpness: tuple[float, ...]
    """The factor that calibrates each of its readings."""


def ridge_readings(ridge: Ridge, likeness: Floats) -> tuple[Floats, Floats]:
    """Return the logarithm of the scores, and the scores; minus infinity for a class absent in training."""
    scores = likeness[:, : len(ridge.coefficients)] @ ridge.coefficients
    scores += ridge.shares
    logs = np.log(np.maximum(scores, LEAST_SCORE / scores.shape[1]))
    for reading in (logs, scores):
        reading[:, ridge.shares == 0] = -np.inf
    return logs, scores


def try_readings(readings: tuple[Floats, ...], held_out: HeldOut) -> Trial:
    """Return the trial of a model's readings of these rows; the loss is that of the last one."""
    found = [calibrated(each, held_out.targets, held_out.weights) for each in readings]
    return Trial(found[-1][1] * float(held_out.weights.sum()), tuple(factor for factor, _ in found))


def best_trial(curves: Sequence[list[Trial]]) -> tuple[int, tuple[float, ...]]:
    """Return the strength of least total loss among those that all curves reach, and its mean factors."""
    together = list(zip(*curves, strict=False))
    best = int(np.argmin([sum(trial.loss for trial in trials) for trials in together]))
    factors = np.log([trial.sharpness for trial in together[best]]).mean(axis=0)
    return best, tuple(np.exp(factors).tolist())


def calibrated(logits: Floats, targets: NDArray[Any], weights: Floats) -> tuple[float, float]:
    """Return the factor of least log loss on labels (n,) or shares (n, K), and that mean loss.

    As in Platt scaling, targets stop short of one by the weight of about one row, so no factor is infinite.
    """
    from scipy.optimize import minimize_scalar

    step = -(-len(targets) // MOST_ROWS)
    logits, weights = logits[::step], weights[::step]
    shares, doubt = shares_of(targets[::step], logits.shape[1]), 1 / (len(logits) + 2)

    def losses(log_factor: float) -> tuple[float, float]:
        logs = floored_log(softmax(np.float32(np.exp(log_factor)) * logits))
        each = np.stack([np.einsum("nk,nk->n", shares, logs), logs.mean(axis=1)]).astype(np.float64)
        of_given, of_all = -np.average(each, axis=1, weights=weights)
        return float(of_given), float(of_all)

    def smoothed(log_factor: float) -> float:
        of_given, of_all = losses(log_factor)
        return (1 - doubt) * of_given + doubt * of_all

    found = minimize_scalar(smoothed, bounds=LOG_SHARPNESS, method="bounded", options={"xatol": 0.01})
    return float(np.exp(found.x)), losses(found.x)[0]


def softmax(logits: Floats) -> Floats:
    """Return the probabilities (n, K) of logits (n, K)."""
    probs: Floats = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs /= probs.sum(axis=1, keepdims=True)
    return probs
