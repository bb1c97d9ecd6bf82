"""The probability that a photo shows none of the classes. N rows, D features, K classes, M neighbors.

    foreign   far from every class, as a photo of something else is
    unnamed   alike with its neighbors, which agree on no class: a class that has no name here

    distance    minus the cosine to the nearest class mean, in square roots of features
    doubt       log odds against the class that leads, in the row's predictions and in its neighbors'
                predictions and labels
    isolation   log of the distance to the nearest class center over that to the neighbors

`foreign` rests on the row's own distance, `unnamed` on the means of all three over its neighbors. Each is
counted in units of the set: 0 is the median, 1 is exceeded by 16 % of rows. Class means, metric and neighbors
of a row are of other folds; its own label is heard only in its neighbors' doubt. Why: docs/noise.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.checks import Labels, Matrix, Numbers, check_arrays
from kiyome.cores import in_threads, one_blas_thread
from kiyome.errors import InputError
from kiyome.noise.top_classes import sample_size, sampled_rows

FEWEST_ROWS = 50  # of fewer, nobody can tell what is usual
NUM_NEIGHBORS = 20
NUM_VOTERS = 5  # the nearest of them, whose labels and predictions make up a row's doubt
NUM_DIMENSIONS = 32  # 64 know a hidden class less well where its labels are those of the nearest one
FAR_SLOPE, FAR_CUT = 3.0, 4.3  # of ordinary rows, one in 300 lies beyond
NEIGHBOR_LIMIT = 4.0  # units: else a few foreign photos speak for all that lie near them
WEIGHTS = (1.0, 1.0, 3.0)  # of distance, isolation and doubt
LEAST_DOUBT = 0.5  # a unit of it: among sure predictions the least doubt would be many units
UNNAMED_CUT = 11.0  # of ordinary rows, one in 500 lies beyond
CENTRAL_SHARE = 0.6  # of a class, for its mean: the rest may be foreign
TRIMMED_SHARE = 0.2  # of rows, for the metric
CLIP = 4.0  # deviations: else a feature that fires in one photo decides
SHRINKAGE = 0.1
LARGEST_LEAD = 0.95  # of a class: whoever is surer has no less doubt
BLOCK_ROWS = 2**10

Floats = NDArray[np.float32]


class _View(NamedTuple):
    """A block of rows as seen from the other folds."""

    rows: Labels
    """(n,)"""
    neighbors: Labels
    """(n, M) rows, the nearest first."""
    distance: Matrix
    """(n,)"""
    isolation: Matrix
    """(n,)"""


def probability_none(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    features: NDArray[np.floating] | None = None,
    folds: ArrayLike | None = None,
) -> Matrix:
    """The probability (N,) that each photo shows none of the classes, in 0..1.

    Parameters
    ----------
    labels
        (N,) given labels, whole numbers from 0 to K-1.
    pred_probs
        (N, K) out-of-fold probabilities, rows sum to one.
    features
        (N, D) of a backbone, in memory or mapped. Without them only `doubt` is left, with neighbors among the
        predictions: foreign photos that resemble one class are then not found.
    folds
        (N,) the folds of the predictions; every fifth row is one where none are given, or a single one.

    Raises
    ------
    InputError
        Arrays that do not fit each other, or features that are not finite.

    Notes
    -----
    Fitted on sets in which 4 % of photos showed none of the classes; where fewer do, it comes out too high. A
    hidden class whose photos all carry the label of one class is not told from a variety of that class. Of
    fewer than 50 rows nothing is said: 0.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels = np.arange(200) % 2
    >>> features = np.abs(rng.normal(size=(200, 64)) + 6 * np.repeat(np.eye(2, 4)[labels], 16, axis=1))
    >>> features[0] = features[0, ::-1]  # strong where no other row is
    >>> pred_probs = np.where(np.eye(2)[labels] == 1, 0.9, 0.1)
    >>> probability = probability_none(labels, pred_probs, features=features)
    >>> int(probability.argmax()), bool(probability[0] > 0.5), bool(probability[1:].max() < 0.5)
    (0, True, True)
    """
    given, probs = check_arrays(labels, pred_probs)
    parts = np.zeros(len(given)) if folds is None else np.asarray(folds)
    _check(given, parts, features)
    if len(np.unique(parts)) == 1:
        parts = np.arange(len(given)) % 5
    if len(given) < FEWEST_ROWS:
        return np.zeros(len(given))
    references = np.sort(sampled_rows(0, len(given), sample_size(probs.shape[1]))[0])
    if features is None:
        views = _views_of_predictions(probs, parts, references)
    else:
        views = _views_of_features(features, given, parts, references)
    evidence = {name: np.zeros(len(given)) for name in ("distance", "isolation", "doubt")}
    neighbors: Labels = np.empty((len(given), NUM_NEIGHBORS), np.int32)
    with one_blas_thread():
        for view in views:
            neighbors[view.rows] = view.neighbors
            evidence["distance"][view.rows] = view.distance
            evidence["isolation"][view.rows] = view.isolation
        for start in range(0, len(references), BLOCK_ROWS):
            rows = references[start : start + BLOCK_ROWS]
            evidence["doubt"][rows] = _doubt(rows, neighbors[rows], given, probs)
    return _combined(evidence, neighbors)


def _check(labels: Labels, folds: NDArray[np.generic], features: NDArray[np.floating] | None) -> None:
    if features is not None and (features.ndim != 2 or len(features) != len(labels)):
        raise InputError(
            f"features have the shape {features.shape}; ({len(labels)}, D) is expected.",
            remedy="Pass one row for each label.",
        )
    starts = range(0, 0 if features is None else len(features), BLOCK_ROWS)
    if features is not None and not all(
        np.isfinite(features[start : start + BLOCK_ROWS]).all() for start in starts
    ):
        raise InputError(
            "features hold NaN or infinity.", remedy="Leave out the rows of photos that cannot be read."
        )
    if folds.shape != labels.shape:
        raise InputError(
            f"folds have the shape {folds.shape}; ({len(labels)},) is expected.",
            remedy="Pass the folds of the predictions.",
        )


def _combined(evidence: dict[str, Matrix], neighbors: Labels) -> Matrix:
    distance, isolation = _units(evidence["distance"]), _units(evidence["isolation"])
    foreign = _sigmoid(FAR_SLOPE * (distance - FAR_CUT))
    around = [
        _units(distance.clip(max=NEIGHBOR_LIMIT)[neighbors].mean(axis=1)),
        _units(isolation.clip(max=NEIGHBOR_LIMIT)[neighbors].mean(axis=1)),
        _units(evidence["doubt"][neighbors].mean(axis=1), least=LEAST_DOUBT),
    ]
    unnamed = _sigmoid(np.dot(WEIGHTS, around) - UNNAMED_CUT)
    probability: Matrix = 1 - (1 - foreign) * (1 - unnamed)
    return probability


def _units(values: Matrix, least: float = 0.0) -> Matrix:
    """Values (N,) with median 0, where 16 % exceed 1 unit, which is `least` or more; zeros if it is 0."""
    median, high = np.quantile(values, (0.5, 0.84))
    unit = max(high - median, least)
    return (values - median) / unit if unit > 0 else np.zeros_like(values)


def _sigmoid(x: Matrix) -> Matrix:
    probability: Matrix = 1 / (1 + np.exp(-x.clip(-40, 40)))
    return probability


def _doubt(rows: Labels, neighbors: Labels, labels: Labels, probs: Numbers) -> Matrix:
    """(n,) log odds against the class that leads by own and neighbors' predictions and by their labels."""
    voters = neighbors[:, :NUM_VOTERS]
    voices = probs[rows] + probs[voters].mean(axis=1, dtype=np.float64)
    for voter in voters.T:
        voices[np.arange(len(voices)), labels[voter]] += 1 / voters.shape[1]
    lead = (voices.max(axis=1) / 3).clip(max=LARGEST_LEAD)
    doubt: Matrix = np.log(1 - lead) - np.log(lead)
    return doubt


def _views_of_predictions(probs: Numbers, folds: NDArray[np.generic], references: Labels) -> Iterator[_View]:
    """Views whose neighbors are alike in roots of probabilities; they know no distance from a class.

    A row's neighbors have its leading class among their first two. Where rows outnumber references, a row
    has the neighbors of the reference that is nearest to it.
    """
    firsts = np.argpartition(-probs[references], 1, axis=1)[:, :2]
    leading = probs.argmax(axis=1)
    for fold in np.unique(folds):
        others, mine = folds[references] != fold, np.flatnonzero(folds == fold)
        for label in np.unique(leading[mine]):
            alike = others & (firsts == label).any(axis=1)
            seen_rows = references[alike if alike.any() else others]
            seen, rows = _roots(probs[seen_rows]), mine[leading[mine] == label]
            shared = _nearest(seen, seen)[0] if len(rows) > len(seen) else None
            directions = seen.T.astype(np.float32)  # of length 1: the nearest has the largest product
            for start in range(0, len(rows), BLOCK_ROWS):
                block = rows[start : start + BLOCK_ROWS]
                points, unknown = _roots(probs[block]), np.zeros(len(block))
                if shared is None:
                    nearest, _ = _nearest(points, seen)
                else:
                    nearest = shared[(points.astype(np.float32) @ directions).argmax(axis=1)]
                yield _View(block, seen_rows[nearest], unknown, unknown)


def _roots(probs: Numbers) -> Matrix:
    return np.sqrt(probs, dtype=np.float64)


def _views_of_features(
    features: NDArray[np.floating], labels: Labels, folds: NDArray[np.generic], references: Labels
) -> Iterator[_View]:
    """Views in a metric in which classes are round, learned anew from each fold's others."""
    sampled = features[references].astype(np.float32)
    others_of = {fold: np.flatnonzero(folds[references] != fold) for fold in np.unique(folds)}

    def class_means() -> list[Floats]:
        directions = _by_blocks(_directions, sampled)
        return [_class_means(directions[mine], labels[references[mine]]) for mine in others_of.values()]

    jobs: list[Callable[[], Any]] = [partial(_Components.fit, sampled), class_means]
    components, means_of = in_threads(lambda job: job(), jobs)
    inputs = _by_blocks(components, sampled)
    for (fold, mine), means in zip(others_of.items(), means_of, strict=True):
        others, rows = references[mine], np.flatnonzero(folds == fold)
        metric, centers = _metric(inputs[mine], labels[others])
        seen = _Seen(others, inputs[mine] @ metric, components, metric, centers, means)
        yield from in_threads(partial(seen.view, features), _blocks(rows))


class _Seen(NamedTuple):
    """The reference rows of the other folds, and the metric in which a fold sees them."""

    rows: Labels
    """(n,)"""
    points: Matrix
    """(n, d)"""
    components: _Components
    metric: Matrix
    """(d, d)"""
    centers: Matrix
    """(K', d)"""
    means: Floats
    """(K', D) directions of the classes"""

    def view(self, features: NDArray[np.floating], block: Labels) -> _View:
        """A block of the fold's rows."""
        values = features[block].astype(np.float32)
        points = self.components(values) @ self.metric
        nearest, distances = _nearest(points, self.points)
        to_class = _distances(points, self.centers).min(axis=1)
        return _View(
            rows=block,
            neighbors=self.rows[nearest],
            distance=-(_directions(values) @ self.means.T).max(axis=1),
            isolation=np.log(to_class.clip(1e-9)) - np.log(distances.mean(axis=1).clip(1e-9)),
        )


def _by_blocks(function: Callable[[Floats], NDArray[Any]], values: NDArray[np.floating]) -> NDArray[Any]:
    """What a function of rows makes of these values (n, D), computed by blocks."""
    return np.concatenate(list(in_threads(function, _blocks(values))))


def _blocks(rows: NDArray[Any]) -> list[NDArray[Any]]:
    return [rows[start : start + BLOCK_ROWS] for start in range(0, len(rows), BLOCK_ROWS)]


def _unit_rows(values: Numbers) -> Numbers:
    lengths: Numbers = np.linalg.norm(values, axis=1, keepdims=True)
    unit: Numbers = values / lengths.clip(1e-9)
    return unit


def _directions(features: NDArray[np.floating]) -> Floats:
    """Signed square roots (n, D), each row of length one."""
    values = features.astype(np.float32, copy=False)
    return _unit_rows(np.copysign(np.sqrt(np.abs(values)), values))


def _class_means(directions: Floats, labels: Labels) -> Floats:
    """Directions (K', D) of the classes that have rows, each of its central rows.

    The first are central among all rows, or many foreign ones could take a class over.
    """
    means, mean_of_all = [], directions.mean(axis=0)
    for label in np.unique(labels):
        rows, mean = directions[labels == label], mean_of_all
        for _ in range(3):
            cosines = rows @ mean
            mean = rows[cosines >= np.quantile(cosines, 1 - CENTRAL_SHARE)].mean(axis=0)
        means.append(mean)
    return _unit_rows(np.stack(means))


class _Components(NamedTuple):
    """Principal components of standardized, clipped features in rows of length one."""

    mean: Floats
    deviation: Floats
    center: Floats
    vectors: Floats
    """(D, d)"""

    @classmethod
    def fit(cls, features: Floats) -> _Components:
        from scipy.linalg import eigh

        mean, deviation = features.mean(axis=0), features.std(axis=0)
        deviation[deviation < 1e-6] = 1  # a feature that never changes tells nothing
        units = _by_blocks(lambda block: _clipped_units(block, mean, deviation), features)
        center = units.mean(axis=0)
        units -= center
        last = features.shape[1] - 1
        first = max(last - NUM_DIMENSIONS + 1, 0)
        _, vectors = eigh(units.T @ units, subset_by_index=(first, last))
        return cls(mean, deviation, center, vectors)

    def __call__(self, features: NDArray[np.floating]) -> Matrix:
        units = _clipped_units(features, self.mean, self.deviation)
        return ((units - self.center) @ self.vectors).astype(np.float64)


def _clipped_units(features: NDArray[np.floating], mean: Floats, deviation: Floats) -> Floats:
    """Standardized, clipped features, each row of length one."""
    values = features.astype(np.float32)
    values -= mean
    values /= deviation
    return _unit_rows(np.clip(values, -CLIP, CLIP, out=values))


def _metric(points: Matrix, labels: Labels) -> tuple[Matrix, Matrix]:
    """A map (d, d) to where deviations within classes are round, and the class centers (K', d) there.

    The rows farthest from their class are left out: their labels may be wrong.
    """
    names, classes = np.unique(labels, return_inverse=True)
    kept = np.ones(len(points), np.bool_)
    for _ in range(3):
        centers = np.stack([_center(points, kept, classes == name) for name in range(len(names))])
        rest = points - centers[classes]
        values, vectors = np.linalg.eigh(rest[kept].T @ rest[kept] / kept.sum())
        metric = vectors / np.sqrt((values + SHRINKAGE * values.mean()).clip(1e-12))
        lengths = np.linalg.norm(rest @ metric, axis=1)
        kept = lengths <= np.quantile(lengths, 1 - TRIMMED_SHARE)
    return metric, centers @ metric


def _center(points: Matrix, kept: NDArray[np.bool_], mine: NDArray[np.bool_]) -> Matrix:
    """Median of the rows of a class that are kept; of all its rows where none is."""
    rows = mine & kept if (mine & kept).any() else mine
    center: Matrix = np.median(points[rows], axis=0)
    return center


def _distances(points: Matrix, others: Matrix) -> Matrix:
    distances = _squares(points, others)
    return np.sqrt(distances, out=distances)


def _squares(points: Matrix, others: Matrix) -> Matrix:
    """Squared distances (n, m)."""
    squares: Matrix = (points**2).sum(axis=1)[:, np.newaxis] + (others**2).sum(axis=1)
    squares -= 2 * points @ others.T
    return np.maximum(squares, 0, out=squares)


def _nearest(points: Matrix, others: Matrix) -> tuple[Labels, Matrix]:
    """Positions (n, M) of the nearest others and distances, rising; the last repeats if others are few."""
    squares = _squares(points, others)
    count = min(NUM_NEIGHBORS, len(others))
    nearest = np.argpartition(squares, count - 1, axis=1)[:, :count]
    found = np.sqrt(np.take_along_axis(squares, nearest, axis=1))
    order = np.argsort(found, axis=1, kind="stable")
    order = np.pad(order, ((0, 0), (0, NUM_NEIGHBORS - count)), mode="edge")
    return np.take_along_axis(nearest, order, axis=1), np.take_along_axis(found, order, axis=1)
