"""Pictures and features as directions in principal components, and the columns that are most alike.

n, b rows; S numbers of a picture, D of features.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.images.registration import Numbers

Rows = NDArray[np.int64]
Matrix = NDArray[Any]

MOST_ROWS = 10_000
"""Rows that principal components are computed of."""
GROUP = 32
"""Columns whose largest value is compared before their own values are."""


def most_alike(similarity: Numbers, most: int) -> Rows:
    """Return (b, k) columns of the largest values of each of b rows, in no order; k is `most` or fewer.

    >>> most_alike(np.array([[0.1, 0.9, 0.3]], np.float32), 1)
    array([[1]])
    """
    num_rows, num_columns = similarity.shape
    most = min(most, num_columns)
    spare = -num_columns % GROUP
    padded = np.pad(similarity, ((0, 0), (0, spare)), constant_values=-np.inf) if spare else similarity
    grouped = padded.reshape(num_rows, -1, GROUP)
    best = grouped.max(axis=2)  # the largest values are in the groups with the largest maxima
    num_groups = min(most, best.shape[1])
    groups = np.argpartition(-best, num_groups - 1, axis=1)[:, :num_groups]
    inside = np.take_along_axis(grouped, groups[:, :, None], axis=1).reshape(num_rows, -1)
    chosen = np.argpartition(-inside, most - 1, axis=1)[:, :most]
    columns: Rows = np.take_along_axis(groups, chosen // GROUP, axis=1) * GROUP + chosen % GROUP
    return columns


def whitened(features: Matrix, later: Rows, earlier: Rows, most: int) -> tuple[Numbers, Numbers]:
    """Return the features of two lots of rows as directions in whitened components of the second."""
    sample = np.asarray(features[_some(earlier)], np.float32)
    mean, deviation = sample.mean(axis=0), sample.std(axis=0)
    deviation[deviation < 1e-6] = 1

    def standard(rows: Rows) -> Numbers:
        standardized: Numbers = (np.asarray(features[rows], np.float32) - mean) / deviation
        return standardized

    project = components(standard, earlier, most, whiten=True)
    both = [projected(lambda rows: project(standard(rows)), rows) for rows in (later, earlier)]
    return both[0], both[1]


def components(
    of_rows: Callable[[Rows], Numbers], rows: Rows, most: int, *, whiten: bool = False
) -> Callable[[Numbers], Numbers]:
    """Return the projection upon the leading principal components, as directions."""
    sample = of_rows(_some(rows))
    variances, components = np.linalg.eigh(sample.T @ sample / len(sample))
    kept = slice(max(len(variances) - most, 0), None)
    axes = components[:, kept]
    if whiten:
        axes = axes / np.sqrt(np.maximum(variances[kept], 1e-6 * variances[-1]) + 1e-12)
    return lambda values: _unit(values @ axes)


def _some(rows: Rows) -> Rows:
    """Return some of the rows, evenly spread."""
    return rows[:: max(1, -(-len(rows) // MOST_ROWS))]


def projected(of_rows: Callable[[Rows], Numbers], rows: Rows) -> Numbers:
    """Return the values of all rows, computed block by block."""
    return np.concatenate([of_rows(rows[start : start + 4096]) for start in range(0, len(rows), 4096)])


def directions(pictures: Matrix) -> Numbers:
    """Return pictures centered and scaled to length one, (n, S)."""
    flat = pictures.reshape(len(pictures), -1).astype(np.float32)
    return _unit(flat - flat.mean(axis=1, keepdims=True))


def _unit(vectors: Numbers) -> Numbers:
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    units: Numbers = (vectors / lengths).astype(np.float32)
    return units
