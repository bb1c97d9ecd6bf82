"""Multinomial logistic regression on principal components, along a path of regularization.

n rows, R components, K classes. Minimizes C * sum of weighted log losses + half the squared weights, as
scikit-learn does; in the basis of principal components the curvature is nearly diagonal, and known.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kiyome.features.targets import counts_of, shares_of

Floats = NDArray[np.float32]

GRID = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
"""scikit-learn's C, from strong regularization to its default, which learns wrong labels by heart."""

TOLERANCE = 1e-4
"""Relative change of the loss at which a fit ends; a smaller one changes no ranking."""

MAX_ITERATIONS = 200
ABSENT = -1e4
"""Logit of a class that training lacks: its probability is exactly zero."""
BLOCK = 2048


class Training(NamedTuple):
    """n rows to fit."""

    components: Floats
    """(n, R + 1); the last column is 1."""
    targets: NDArray[Any]
    """(n,) labels, or (n, K) shares."""
    weights: Floats
    variances: Floats
    """(R + 1,) about the mean square of each component."""


def path(training: Training, num_classes: int) -> Iterator[Floats]:
    """Yield coefficients (R + 1, K) for each C of the grid, strong to weak, each starting at the last."""
    coefficients = start(training, num_classes)
    for strength in GRID:
        coefficients = fit(training, strength, coefficients)
        yield coefficients


def start(training: Training, num_classes: int) -> Floats:
    """Return coefficients (R + 1, K) that give every photo the shares of the classes."""
    counts = counts_of(training.targets, training.weights, num_classes)
    coefficients = np.zeros((training.components.shape[1], num_classes), np.float32)
    coefficients[-1] = np.where(counts > 0, np.log(np.maximum(counts, 1e-12) / counts.sum()), ABSENT)
    return coefficients


def fit(training: Training, strength: float, coefficients: Floats) -> Floats:
    """Return coefficients (R + 1, K) of the least penalized loss, from a start."""
    from scipy.optimize import minimize

    penalty = np.full((len(coefficients), 1), 1 / (strength * float(training.weights.sum())), np.float32)
    penalty[-1] = 0  # the intercept is free
    curvature = training.variances[:, None] / (2 * coefficients.shape[1])  # about p (1 - p) of a fitted model
    unit = 1 / np.sqrt(curvature + penalty)

    def objective(steps: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        moved = coefficients + unit * steps.reshape(coefficients.shape).astype(np.float32)
        loss, gradient = mean_loss(training, moved)
        loss += 0.5 * float((penalty * moved * moved).sum())
        return loss, (unit * (gradient + penalty * moved)).astype(np.float64).ravel()

    found = minimize(
        objective,
        np.zeros(coefficients.size),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": MAX_ITERATIONS, "ftol": TOLERANCE, "gtol": 0},
    )
    steps = found.x.reshape(coefficients.shape).astype(np.float32)
    return np.asarray(coefficients + unit * steps, np.float32)


def mean_loss(training: Training, coefficients: Floats) -> tuple[float, Floats]:
    """Return the weighted mean log loss and its gradient (R + 1, K), by blocks that stay in the cache."""
    components, targets, weights, _ = training
    total, gradient = 0.0, np.zeros_like(coefficients)
    for first in range(0, len(targets), BLOCK):
        block = slice(first, first + BLOCK)
        x, weight = components[block], weights[block]
        shares = shares_of(targets[block], coefficients.shape[1])
        exps = x @ coefficients
        exps -= exps.max(axis=1, keepdims=True)
        of_given = np.einsum("nk,nk->n", shares, exps)
        np.exp(exps, out=exps)
        sums = exps.sum(axis=1)
        total += float(weight @ (np.log(sums) - of_given))
        exps *= (weight / sums)[:, None]
        exps -= weight[:, None] * shares
        gradient += x.T @ exps
    scale = 1 / float(weights.sum())
    return total * scale, gradient * np.float32(scale)
