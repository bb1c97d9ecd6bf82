"""Ridge regression of many two-valued targets at once, cross-fitted on principal components.

n rows, R components, S targets, F folds. A shuffled target costs one column, not one more fit.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.features.inputs import InputMap, fit_input_map

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

GRID = 10.0 ** np.arange(-4, 3, 0.5)
"""Ridge penalties for each row; components have a mean square of 1."""
LEAST_VARIANCE = 1e-12


def split_components(features: NDArray[Any], input_map: InputMap | None) -> Floats:
    """Return up to 256 principal components (n, R) of features (n, D), with a mean square of about 1."""
    if input_map is None:
        input_map = fit_input_map(features, np.arange(len(features)))
    components = input_map.components(features)[:, :-1]
    components /= np.sqrt(max(input_map.variances[:-1].mean(), LEAST_VARIANCE))
    return components


def cross_fit_scores(components: Floats, targets: Floats, folds: NDArray[Any]) -> Floats:
    """Return out-of-fold scores (n, S) of targets (n, S) of 0 and 1, each with its own penalty.

    The penalty of a target in a fold is that of the least generalized cross-validation error (Golub, Heath
    and Wahba, 1979, Technometrics 21, 215-223) on the other folds' rows.
    """
    in_folds = [np.flatnonzero(folds == fold) for fold in np.unique(folds)]
    if len(in_folds) == 1:  # one group: there are no other rows to learn from
        return np.zeros_like(targets)
    sums = [_Sums(components[rows], targets[rows]) for rows in in_folds]
    scores = np.empty(targets.shape, np.float32)
    for held_out, rows in enumerate(in_folds):
        others = [each for at, each in enumerate(sums) if at != held_out]
        mean, coefficients = _solve(others)
        scores[rows] = (components[rows] - mean) @ coefficients
    return scores


class _Sums:
    """Sums over rows: all that ridge regression needs of them."""

    def __init__(self, components: Floats, targets: Floats) -> None:
        self.num_rows = len(components)
        self.components = components.sum(axis=0, dtype=np.float64)
        self.targets = targets.sum(axis=0, dtype=np.float64)
        self.products = (components.T @ components).astype(np.float64)
        self.by_target = (components.T @ targets).astype(np.float64)


def _solve(sums: list[_Sums]) -> tuple[Floats, Floats]:
    """Return the mean (R,) of the components and coefficients (R, S), each target with its best penalty."""
    num_rows = sum(each.num_rows for each in sums)
    mean = sum(each.components for each in sums) / num_rows
    ones = np.sum([each.targets for each in sums], axis=0)
    products = np.sum([each.products for each in sums], axis=0) - num_rows * np.outer(mean, mean)
    by_target = np.sum([each.by_target for each in sums], axis=0) - np.outer(mean, ones)
    values, vectors = np.linalg.eigh(products)
    values, by_target = np.maximum(values, 0), vectors.T @ by_target
    errors = [_validation_error(penalty * num_rows, num_rows, values, by_target, ones) for penalty in GRID]
    penalties = GRID[np.argmin(errors, axis=0)] * num_rows
    coefficients = vectors @ (by_target / (values[:, None] + penalties))
    return mean.astype(np.float32), coefficients.astype(np.float32)


def _validation_error(
    penalty: float, num_rows: int, values: Doubles, by_target: Doubles, ones: Doubles
) -> Doubles:
    """Return the generalized cross-validation error (S,); infinite where no degree of freedom is left."""
    squares = ones * (1 - ones / num_rows)
    explained = ((values + 2 * penalty) / (values + penalty) ** 2) @ by_target**2
    left = num_rows - 1 - (values / (values + penalty)).sum()
    return (squares - explained) / left**2 if left > 0 else np.full(len(ones), np.inf)
