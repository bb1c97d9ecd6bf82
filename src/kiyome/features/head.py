"""Cross-fitted heads: each row's probabilities come from a linear model that never saw the row.

N rows, D features, K classes, F folds.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.artifacts.predictions import floored_log
from kiyome.errors import InputError
from kiyome.progress import Progress, no_progress

Floats = NDArray[np.float32]
Job = TypeVar("Job")
Result = TypeVar("Result")

GRID = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
"""scikit-learn's C from strong regularization to its default, which learns wrong labels by heart."""

TOLERANCE = 1e-3
MAX_ITERATIONS = 500
"""Ten times what a fit needs at this tolerance."""


@dataclass(frozen=True, kw_only=True)
class HeadFit:
    """Out-of-fold probabilities of linear heads, and how well they agree with the given labels."""

    pred_probs: Floats
    """(N, K), rows sum to one; a row's are by the head that did not see its fold."""
    regularization: tuple[float, ...]
    """C of each fold's head, chosen among its training rows; small is strong."""
    log_loss: float
    """Of `pred_probs` against the given labels."""
    accuracy_on_given: float


def cross_fit_head(
    features: NDArray[Any],
    labels: ArrayLike,
    folds: ArrayLike,
    *,
    num_classes: int,
    weights: ArrayLike | None = None,
    on_progress: Progress = no_progress,
) -> HeadFit:
    """Return out-of-fold probabilities of multinomial logistic regression on standardized features.

    Each fold's head is fitted on the other folds' rows, with the regularization that does best among them:
    two neighboring folds are left out, a path of models from strong to weak regularization is fitted on the
    rest, and each of the two takes the C that has the least log loss on its neighbors. One path so serves
    two folds, and no row has a say in its own head. Means and deviations are of training rows only, too.

    Parameters
    ----------
    features : array, shape (N, D)
        Finite numbers, in memory or mapped. Each core that works holds a float32 copy of its training rows.
    labels : array of int, shape (N,)
        Given labels, 0 to K - 1.
    folds : array of int, shape (N,)
        From `assign_folds`; at least three of them.
    num_classes : int
        K. A class that a training part lacks has probability zero there.
    weights : array of float, shape (N,), optional
        How much each row teaches; one of weight 0 teaches nothing, and is predicted all the same.
    on_progress : callable
        Hears ``("fit heads", done, total)``.

    Raises
    ------
    InputError
        If shapes differ, labels are out of range, features are not finite, folds are fewer than three, or
        some folds together hold every row that teaches.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels = np.arange(60) % 2
    >>> features = rng.normal(size=(60, 5)) + 2 * labels[:, None]
    >>> fit = cross_fit_head(features, labels, folds=np.arange(60) // 20, num_classes=2)
    >>> fit.pred_probs.shape, fit.accuracy_on_given > 0.9
    ((60, 2), True)
    """
    labels, folds = np.asarray(labels), np.asarray(folds)
    weights = np.ones(len(labels), np.float32) if weights is None else np.asarray(weights, np.float32)
    _check(features, labels, folds, num_classes)
    held = np.unique(folds).tolist()
    pairs = list(zip(held, held[1:] + held[:1], strict=True))
    num_steps = len(pairs) + len(held)
    teaches = weights > 0
    _check_teachers(teaches, folds, pairs)

    def choose(pair: tuple[int, int]) -> dict[int, list[float]]:
        train = teaches & ~np.isin(folds, pair)
        inputs, scale = _standardized(features[train])
        judges = {
            fold: _Judge(_scaled(features[rows], scale), labels[rows], weights[rows])
            for fold, rows in ((a, teaches & (folds == b)) for a, b in (pair, pair[::-1]))
        }
        return _losses_along_path(inputs, labels[train], weights[train], judges, num_classes)

    paths: list[dict[int, list[float]]] = []
    for losses in _in_parallel(choose, pairs):
        paths.append(losses)
        on_progress("fit heads", len(paths), num_steps)
    strengths = {fold: _best_strength([losses[fold] for losses in paths if fold in losses]) for fold in held}

    def predict(fold: int) -> tuple[int, Floats]:
        train = teaches & (folds != fold)
        inputs, scale = _standardized(features[train])
        head = _fitted(inputs, labels[train], weights[train], strengths[fold])
        return fold, _probabilities(head, _scaled(features[folds == fold], scale), num_classes)

    pred_probs = np.empty((len(labels), num_classes), np.float32)
    for done, (fold, probabilities) in enumerate(_in_parallel(predict, held), len(pairs) + 1):
        pred_probs[folds == fold] = probabilities
        on_progress("fit heads", done, num_steps)
    return HeadFit(
        pred_probs=pred_probs,
        regularization=tuple(strengths.values()),
        log_loss=_log_loss(pred_probs, labels),
        accuracy_on_given=float((pred_probs.argmax(axis=1) == labels).mean()),
    )


def _check(features: NDArray[Any], labels: NDArray[Any], folds: NDArray[Any], num_classes: int) -> None:
    if features.ndim != 2 or labels.shape != (len(features),) or folds.shape != labels.shape:
        raise InputError(
            "Features are (N, D), labels and folds (N,).",
            came=f"shapes {features.shape}, {labels.shape} and {folds.shape}",
            remedy="Take all three from the same rows.",
        )
    num_folds = len(np.unique(folds))
    if num_folds < 3:
        raise InputError(
            "There are three folds or more: one is held out, one judges the regularization, the rest train.",
            came=str(num_folds),
            remedy="Deal the rows into more folds.",
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise InputError(
            f"Labels lie in 0..{num_classes - 1}.",
            came=f"labels from {labels.min()} to {labels.max()}",
            remedy="Correct the labels, or num_classes.",
        )
    starts = range(0, len(features), 10_000)
    if not all(np.isfinite(features[start : start + 10_000]).all() for start in starts):
        raise InputError(
            "Features are finite.", came="NaN or infinity", remedy="Leave out the rows of unreadable photos."
        )


def _check_teachers(teaches: NDArray[np.bool_], folds: NDArray[Any], pairs: list[tuple[int, int]]) -> None:
    for pair in pairs:
        if not (teaches & ~np.isin(folds, pair)).any() or not (teaches & (folds == pair[0])).any():
            raise InputError(
                "Every fold holds rows that teach, whose weight is above zero.",
                came=f"none in fold {pair[0]}, or outside folds {pair[0]} and {pair[1]}",
                remedy="Drop fewer rows, or deal fewer folds.",
            )


def _standardized(rows: NDArray[Any]) -> tuple[Floats, tuple[Floats, Floats]]:
    """Return training rows with mean 0 and deviation 1 in each feature, and the scale that made them so."""
    rows = rows.astype(np.float32)
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    rows -= mean
    deviation = np.sqrt(np.einsum("nd,nd->d", rows, rows) / len(rows))
    deviation[deviation < 1e-6] = 1  # a feature that never changes tells nothing
    rows /= deviation
    return rows, (mean, deviation)


def _scaled(rows: NDArray[Any], scale: tuple[Floats, Floats]) -> Floats:
    mean, deviation = scale
    return (rows.astype(np.float32) - mean) / deviation


class _Judge(NamedTuple):
    """Rows of a fold that say how well a head does that never saw them."""

    inputs: Floats
    labels: NDArray[Any]
    weights: Floats


def _losses_along_path(
    inputs: Floats,
    labels: NDArray[Any],
    weights: Floats,
    judges: dict[int, _Judge],
    num_classes: int,
) -> dict[int, list[float]]:
    """Return fold -> summed log loss on its judge for each C, up to the first that is worse than another.

    Each fold's list ends by its own judge alone, so that no fold's labels reach its own choice.
    """
    losses: dict[int, list[float]] = {fold: [] for fold in judges}
    rising = dict.fromkeys(judges, False)
    head = None
    for strength in GRID:
        head = _fitted(inputs, labels, weights, strength, start=head)
        for fold in [fold for fold in judges if not rising[fold]]:
            judge = judges[fold]
            guesses = _probabilities(head, judge.inputs, num_classes)
            losses[fold].append(_log_loss(guesses, judge.labels, judge.weights) * float(judge.weights.sum()))
            rising[fold] = losses[fold][-1] > min(losses[fold])
        if all(rising.values()):
            break  # weaker regularization would overfit more, and takes longest
    return losses


def _best_strength(paths: list[list[float]]) -> float:
    """Return the C of least total loss among those that every path reached."""
    return GRID[int(np.argmin([sum(losses) for losses in zip(*paths, strict=False)]))]


def _fitted(
    inputs: Floats, labels: NDArray[Any], weights: Floats, strength: float, *, start: Any = None
) -> Any:
    """Return a fitted classifier; it goes on from `start`, which it changes, if given."""
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LogisticRegression

    if labels.min() == labels.max():
        return DummyClassifier(strategy="prior").fit(inputs[:1], labels[:1])
    head = start or LogisticRegression(tol=TOLERANCE, max_iter=MAX_ITERATIONS, warm_start=True)
    return head.set_params(C=strength).fit(
        inputs, labels, sample_weight=None if (weights == 1).all() else weights
    )


def _probabilities(head: Any, inputs: Floats, num_classes: int) -> Floats:
    """Return (n, K) probabilities; a class that the head has never met has none."""
    known = head.predict_proba(inputs).astype(np.float64)
    probabilities = np.zeros((len(inputs), num_classes))
    probabilities[:, head.classes_] = known / known.sum(axis=1, keepdims=True)
    return probabilities.astype(np.float32)


def _log_loss(probabilities: Floats, labels: NDArray[Any], weights: Floats | None = None) -> float:
    of_given = probabilities[np.arange(len(labels)), labels]
    losses = -floored_log(of_given).astype(np.float64)
    return float(np.average(losses, weights=weights))


def _in_parallel(function: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[Result]:
    """Yield results as they come, one job a core; BLAS is kept from using every core for each job."""
    from joblib import Parallel, cpu_count, delayed
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    workers = min(cpu_count(), len(jobs))
    with threadpool_limits(max(1, cpu_count() // workers)), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the grid's far end need not be exact
        parallel = Parallel(workers, backend="threading", return_as="generator_unordered")
        yield from parallel(delayed(function)(job) for job in jobs)
