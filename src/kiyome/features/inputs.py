"""The inputs of the heads: principal components of the features, and likeness to landmark photos.

    features (n, D) ─► standardized, clipped at 4 ─┬─► components (n, R + 1)   for the logistic head
                                                   └─► unit length ─► likeness (n, M)   for kernel ridge

The map is learned from photos without labels, so all folds share it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kiyome.cores import in_threads, one_blas_thread

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
BLOCK = 1024


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
    num_rows, blocks = len(sample), _blocks(sample)
    mean = _total(lambda block: sample[block], blocks) / num_rows
    variance = _total(lambda block: (sample[block] - mean) ** 2, blocks) / num_rows
    deviation = np.sqrt(variance).astype(np.float32)
    deviation[deviation < 1e-6] = 1  # a feature that never changes says nothing
    return Scale(mean.astype(np.float32), deviation)


def _total(values: Callable[[slice], NDArray[Any]], blocks: list[slice]) -> NDArray[np.float64]:
    """Return the sum (D,) over rows, in double precision, of values that are computed by blocks."""
    sums = in_threads(lambda block: values(block).sum(axis=0, dtype=np.float64), blocks)
    total: NDArray[np.float64] = np.sum(list(sums), axis=0)
    return total


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
        return Inputs(self.components(features), self.likeness(features))

    def clipped(self, features: NDArray[Any]) -> Floats:
        """Return standardized features within -4..4."""
        return Scale(self.mean, self.deviation).clipped(features)

    def components(self, features: NDArray[Any]) -> Floats:
        """Return the (n, R + 1) components; the last column is 1."""
        components = np.ones((len(features), self.directions.shape[1] + 1), np.float32)

        def fill(block: slice) -> None:
            np.matmul(self.clipped(features[block]), self.directions, out=components[block, :-1])

        list(in_threads(fill, _blocks(features)))
        return components

    def likeness(self, features: NDArray[Any]) -> Floats:
        """Return the (n, M) likeness to the landmarks."""
        likeness = np.empty((len(features), len(self.landmarks)), np.float32)
        list(in_threads(partial(self.fill, likeness, features), _blocks(features)))
        return likeness

    def fill(self, likeness: Floats, features: NDArray[Any], block: slice) -> None:
        """Compute a block of the likeness in its place."""
        units = to_unit_length(self.clipped(features[block]))
        alike = np.matmul(units, self.landmarks.T, out=likeness[block])
        alike -= 1
        alike *= self.scale
        np.exp(alike, out=alike)


@one_blas_thread()
def fit_input_map(features: NDArray[Any], rows: NDArray[np.intp]) -> InputMap:
    """Return the map learned from these rows of the features, or from 20,000 of them if they are more."""
    return _with_directions(*_without_directions(features, rows))


def fit_inputs(features: NDArray[Any], rows: NDArray[np.intp]) -> tuple[InputMap, Inputs]:
    """Return the map learned from these rows, and the inputs of all rows.

    One core looks for the principal directions while the others compute likeness, which needs none.
    """
    without, sample = _without_directions(features, rows)
    likeness = np.empty((len(features), len(without.landmarks)), np.float32)
    jobs: list[Callable[[], Any]] = [partial(_with_directions, without, sample)]
    jobs += [partial(without.fill, likeness, features, block) for block in _blocks(features)]
    input_map, *_ = in_threads(lambda job: job(), jobs)
    return input_map, Inputs(input_map.components(features), likeness)


def _without_directions(features: NDArray[Any], rows: NDArray[np.intp]) -> tuple[InputMap, NDArray[Any]]:
    """Return a map whose only component is the intercept, and the sample that it was learned from."""
    drawn = np.random.default_rng(0).permutation(rows)[:MOST_SAMPLED]
    landmark_rows = drawn[: min(NUM_LANDMARKS, MOST_LIKENESS // len(features))]
    sample = features[np.sort(drawn)]
    scale = scale_of(sample)
    landmarks = to_unit_length(scale.clipped(features[landmark_rows]))
    input_map = InputMap(
        mean=scale.mean,
        deviation=scale.deviation,
        directions=np.empty((sample.shape[1], 0), np.float32),
        variances=np.ones(1, np.float32),
        landmark_rows=landmark_rows,
        landmarks=landmarks,
        scale=LIKENESS_SCALE / max(_median_distance(landmarks), LEAST_DISTANCE),
    )
    return input_map, sample


def _with_directions(input_map: InputMap, sample: NDArray[Any]) -> InputMap:
    """Return the map with the principal directions of the sample."""
    clipped = input_map.clipped(sample)
    second_moments = clipped.T @ clipped / np.float32(len(clipped))
    directions, variances = leading_directions(second_moments, min(NUM_COMPONENTS, *clipped.shape))
    return replace(
        input_map,
        directions=directions.astype(np.float32),
        variances=np.append(variances, 1).astype(np.float32),
    )


def _blocks(rows: NDArray[Any]) -> list[slice]:
    return [slice(start, start + BLOCK) for start in range(0, len(rows), BLOCK)]


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
