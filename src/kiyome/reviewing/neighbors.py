"""The rows most similar to one row, by the cosine of their stored features. N rows, D features.

Features are standardized and clipped as for the heads: raw ones differ in length (docs/log.md). The search is
exact, and yet few features are read: the same rotation of all rows, which changes no cosine, puts most of
every vector into a few directions. For two unit vectors, each split into its part in these directions and the
rest,

    cosine = kept part · kept part + rest · rest  <=  kept part · kept part + |rest| |rest|

so the kept part bounds every cosine. Three steps follow, each with fewer rows and more numbers:
a head of HEAD directions of all rows, a tail of more directions of those whose bound reaches the k-th best
cosine so far, and whole features of those whose bound still does.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.errors import InputError
from kiyome.features.inputs import scale_of, to_unit_length

Features = NDArray[np.floating[Any]]
Floats = NDArray[np.float32]

HEAD = 128
MAX_KEPT, LEAST_KEPT = 512, 64
"""Directions of head and tail together."""
KEPT_BYTES = 2**28
"""Memory for head and tail, as long as LEAST_KEPT directions fit in."""
SAMPLE_ROWS = 4096
"""The rotation is fitted to so many rows; any rotation is exact, a fitted one is fast."""
BLOCK_ROWS = 4096
FIRST_READ = 64
"""Rows with the highest bounds whose features are read first, at least."""
TINY = 1e-12
ROUNDING = 1e-5
"""Added to every bound, for the error of single precision."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NearestRows:
    """The k nearest rows, the nearest first."""

    rows: NDArray[np.intp]
    """(k,) without the row itself."""
    similarities: Floats
    """(k,) cosines, -1 to 1."""


class Neighbors:
    """Nearest rows of any row; prepared once, in one pass over finite features, which may be on the disk.

    >>> neighbors = Neighbors(np.array([[1.0, 0.0], [0.0, 1.0], [3.0, 1.0], [2.0, 4.0]]))
    >>> near = neighbors.of(0, k=2)
    >>> near.rows.tolist(), [f"{cosine:.3f}" for cosine in near.similarities]
    ([1, 2], ['0.616', '-0.176'])
    """

    def __init__(self, features: Features) -> None:
        self.features = features
        self.norms: Floats = np.empty(len(features), np.float32)
        sample = features[:: -(-len(features) // SAMPLE_ROWS)]
        self._scale = scale_of(sample)
        rotation = _leading_directions(self._scale.clipped(sample), len(features))
        self._head: Floats = np.empty((len(features), min(HEAD, rotation.shape[1])), np.float32)
        self._tail: Floats = np.empty((len(features), rotation.shape[1] - self._head.shape[1]), np.float32)
        for start in range(0, len(features), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            block = self._scale.clipped(features[rows])
            lengths = np.maximum(np.linalg.norm(block, axis=1), TINY)
            self.norms[rows] = np.where(features[rows].any(axis=1), lengths, np.inf)  # zeros: no photo
            turned = (block @ rotation) / self.norms[rows, None]
            self._head[rows], self._tail[rows] = turned[:, :HEAD], turned[:, HEAD:]
        left = 1 - np.einsum("nd,nd->n", self._head, self._head)
        self._beyond_head: Floats = np.sqrt(np.clip(left, 0, None))
        left -= np.einsum("nd,nd->n", self._tail, self._tail)
        self._beyond_tail: Floats = np.sqrt(np.clip(left, 0, None))

    def of(self, row: int, *, k: int) -> NearestRows:
        """Return the k rows nearest to a row; fewer where the table is smaller."""
        num_rows = len(self.features)
        if not 0 <= row < num_rows or k < 1:
            raise InputError(
                f"There are no {k} neighbors of row {row}.",
                expected=f"Expected a row from 0 to {num_rows - 1}, and at least 1 neighbor.",
                remedy="Choose a row of the table, and k of 1 or more.",
            )
        k = min(k, num_rows - 1)
        if k == 0:
            return NearestRows(rows=np.empty(0, np.intp), similarities=np.empty(0, np.float32))
        kept = self._head @ self._head[row]
        bounds = kept + self._beyond_head * self._beyond_head[row] + ROUNDING
        bounds[row] = -np.inf
        first = _largest(bounds, max(k, FIRST_READ))
        cosines = self._cosines(row, first)
        kth_best = np.partition(cosines, -k)[-k]
        bounds[first] = -np.inf
        more = np.flatnonzero(bounds >= kth_best)
        closer = kept[more] + self._tail[more] @ self._tail[row]
        more = more[closer + self._beyond_tail[more] * self._beyond_tail[row] + ROUNDING >= kth_best]
        rows = np.concatenate([first, more])
        cosines = np.concatenate([cosines, self._cosines(row, more)])
        best = np.lexsort((rows, -cosines))[:k]
        return NearestRows(rows=rows[best], similarities=cosines[best])

    def _cosines(self, row: int, rows: NDArray[np.intp]) -> Floats:
        """Return exact cosines (n,) of a row with others."""
        own = self._scale.clipped(self.features[row])
        cosines = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), BLOCK_ROWS):
            block = rows[start : start + BLOCK_ROWS]
            cosines[start : start + BLOCK_ROWS] = self._scale.clipped(self.features[block]) @ own
        cosines /= self.norms[rows] * self.norms[row]
        return cosines


def _leading_directions(sample: Floats, num_rows: int) -> Floats:
    """Return the orthonormal directions (D, up to MAX_KEPT) in which a sample of unit rows is longest."""
    num_kept = min(MAX_KEPT, max(LEAST_KEPT, KEPT_BYTES // (4 * num_rows)))
    units = to_unit_length(sample).astype(np.float64)
    _, directions = np.linalg.eigh(units.T @ units)
    return np.ascontiguousarray(directions[:, ::-1][:, :num_kept], np.float32)


def _largest(values: Floats, count: int) -> NDArray[np.intp]:
    count = min(count, len(values) - 1)
    return np.argpartition(values, -count)[-count:]
