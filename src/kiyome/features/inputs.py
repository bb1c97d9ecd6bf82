"""The inputs of the heads: principal components of the features, and likeness to landmark photos.

    features (n, D) ─► standardized, clipped at 4 ─┬─► components (n, R + 1)   for the logistic head
                                                   └─► unit length ─► likeness (n, M)   for kernel ridge

The map is learned from photos without labels, so all folds share it.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

CLIP = 4.0
"""Deviations from the mean. Without it, a feature that fires in one photo of N lies sqrt(N) away."""

NUM_COMPONENTS = 256
"""Logistic regression on so many ranks wrong labels as well as on all features (docs/log.md)."""

NUM_LANDMARKS = 3000
"""Kernel ridge regression is exact up to so many rows."""

MOST_LIKENESS = 2_000_000_000
"""Numbers, of 4 bytes, that N rows and their landmarks may take: 2,000 landmarks for a million rows."""

LIKENESS_SCALE = 2.0
"""A typical pair of photos is alike by exp(-2)."""

MOST_SAMPLED = 20_000
LEAST_DISTANCE = 1e-3
BLOCK = 4096


class Inputs(NamedTuple):
    """Inputs of the heads for n photos."""

    components: Floats
    """(n, R + 1); the last column is 1, for the intercept."""
    likeness: Floats
    """(n, M) in 0..1; 1 where a photo points in the direction of the landmark."""

    def rows(self, which: Any) -> "Inputs":
        """Return the inputs of some of the photos, by slice, mask or index."""
        return Inputs(self.components[which], self.likeness[which])


class Scale(NamedTuple):
    """Mean and deviation (D,) of each feature."""

    mean: Floats
    deviation: Floats

    def clipped(self, features: NDArray[Any]) -> Floats:
        """Return standardized features within -4..4."""
        rows = features.astype(np.float32)
        rows -= self.mean
        rows /= self.deviation
        return np.clip(rows, -CLIP, CLIP, out=rows)


def scale_of(sample: NDArray[Any]) -> Scale:
    """Return the scale of features (n, D)."""
    mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
    deviation = sample.std(axis=0, dtype=np.float64).astype(np.float32)
    deviation[deviation < 1e-6] = 1  # a feature that never changes says nothing
    return Scale(mean, deviation)


@dataclass(frozen=True, kw_only=True, eq=False)
class InputMap:
    """The map from features (n, D) to the inputs of the heads."""

    mean: Floats
    deviation: Floats
    directions: Floats
    """(D, R) orthonormal: principal directions of the clipped features."""
    variances: Floats
    """(R + 1,) mean square of each component."""
    landmark_rows: NDArray[np.intp]
    """(M,) rows of the features that it was learned from."""
    landmarks: Floats
    """(M, D) of unit length: those rows."""
    scale: float
    """Likeness is exp(scale * (cosine - 1))."""

    def __call__(self, features: NDArray[Any]) -> Inputs:
        """Return the inputs of these photos, computed in blocks of rows."""
        num_rows, num_components = len(features), self.directions.shape[1]
        components = np.ones((num_rows, num_components + 1), np.float32)
        likeness = np.empty((num_rows, len(self.landmarks)), np.float32)
        for start in range(0, num_rows, BLOCK):
            block = slice(start, start + BLOCK)
            clipped = self.clipped(features[block])
            np.matmul(clipped, self.directions, out=components[block, :-1])
            likeness[block] = self.likeness(to_unit_length(clipped))
        return Inputs(components, likeness)

    def clipped(self, features: NDArray[Any]) -> Floats:
        """Return standardized features within -4..4."""
        return Scale(self.mean, self.deviation).clipped(features)

    def likeness(self, units: Floats) -> Floats:
        """Return the (n, M) likeness of rows of unit length to the landmarks."""
        alike: Floats = units @ self.landmarks.T
        alike -= 1
        alike *= self.scale
        np.exp(alike, out=alike)
        return alike


def fit_input_map(features: NDArray[Any], rows: NDArray[np.intp]) -> InputMap:
    """Return the map learned from these rows of the features, or from 20,000 of them if they are more."""
    drawn = np.random.default_rng(0).permutation(rows)[:MOST_SAMPLED]
    landmark_rows = drawn[: min(NUM_LANDMARKS, MOST_LIKENESS // len(features))]
    sample = features[np.sort(drawn)]
    scale = scale_of(sample)
    clipped = scale.clipped(sample)
    second_moments = clipped.T @ clipped / np.float32(len(clipped))
    directions, variances = leading_directions(second_moments, min(NUM_COMPONENTS, *clipped.shape))
    landmarks = to_unit_length(scale.clipped(features[landmark_rows]))
    return InputMap(
        mean=scale.mean,
        deviation=scale.deviation,
        directions=directions.astype(np.float32),
        variances=np.append(variances, 1).astype(np.float32),
        landmark_rows=landmark_rows,
        landmarks=landmarks,
        scale=LIKENESS_SCALE / max(_median_distance(landmarks), LEAST_DISTANCE),
    )


def leading_directions(second_moments: Floats, num: int) -> tuple[Floats, Floats]:
    """Return the first singular vectors (D, num) and values (num,) of a symmetric matrix, by sampling.

    The numbers are those of scikit-learn's `randomized_svd`, whose import takes as long as this.
    """
    from scipy.linalg import lu, qr, svd

    size = len(second_moments)
    projected = np.random.RandomState(0).normal(size=(size, num + 10)).astype(np.float32)
    for matrix in (second_moments, second_moments.T) * (7 if num < size / 10 else 4):
        projected, _ = lu(matrix @ projected, permute_l=True, check_finite=False)
    basis, _ = qr(second_moments @ projected, mode="economic", check_finite=False)
    vectors, values, _ = svd(basis.T @ second_moments, full_matrices=False, check_finite=False)
    directions = (basis @ vectors)[:, :num]
    largest = np.abs(directions).argmax(axis=0)
    directions *= np.sign(directions[largest, np.arange(directions.shape[1])])
    return directions, values[:num]


def to_unit_length(rows: Floats) -> Floats:
    """Return the rows scaled to length one; a row of zeros stays."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    units: Floats = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return units


def _median_distance(units: Floats) -> float:
    """Return the median of 1 - cosine over pairs of rows."""
    few = units[:500]
    first, second = np.triu_indices(len(few), 1)
    return float(np.median(1 - (few @ few.T)[first, second])) if len(first) else 1.0
