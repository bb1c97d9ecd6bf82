"""Cross-fitted heads: each row's probabilities come from models that saw the labels of other folds only.

N rows, D features, K classes, F folds; M rows outside all folds.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.artifacts.predictions import floored_log
from kiyome.errors import InputError
from kiyome.features import logistic, ridge
from kiyome.features.inputs import InputMap, Inputs, fit_input_map
from kiyome.features.readings import (
    MOST_ROWS,
    Head,
    Heads,
    HeldOut,
    Trial,
    best_trial,
    calibrated,
    ridge_readings,
    try_readings,
)
from kiyome.progress import Progress, no_progress

Floats = NDArray[np.float32]
Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadFit:
    """Out-of-fold probabilities of the heads, and how well they agree with the given labels."""

    pred_probs: Floats
    """(N, K), rows sum to one; by the head that did not see the labels of a row's fold, of a row outside all
    folds by all heads."""
    of_one_head: Floats
    """(M, K) of the rows outside all folds, each by one head in turn: no surer than a row in a fold."""
    regularization: tuple[float, ...]
    """C of each fold's logistic regression, chosen among its training rows; small is strong."""
    penalty: tuple[float, ...]
    """Ridge penalty of each fold, chosen in the same way; large is strong."""
    log_loss: float
    """Of `pred_probs` against the given labels, in rows of a fold."""
    accuracy_on_given: float
    heads: Heads
    """For new photos; one for each fold, in the order of the folds."""


def cross_fit_head(
    features: NDArray[Any],
    labels: ArrayLike,
    folds: ArrayLike,
    *,
    num_classes: int,
    weights: ArrayLike | None = None,
    soft_labels: ArrayLike | None = None,
    on_progress: Progress = no_progress,
) -> HeadFit:
    """Return out-of-fold probabilities of logistic and kernel ridge regression, blended.

    Features are standardized and clipped at 4 deviations; their principal components go to multinomial
    logistic regression, their cosines to up to 3,000 landmark rows to kernel ridge regression. All of this is
    learned from the features of rows with weight, without labels. Each fold's models are then fitted on the
    other folds' rows, with the regularization that does best among them: two neighboring folds are left out,
    models of every strength are fitted on the rest, and each of the two takes the strength that has the least
    log loss on its neighbors, once calibrated there. One fit so serves two folds, and no row's label has a
    say in its own head.

    Parameters
    ----------
    features : array, shape (N, D)
        Finite numbers, in memory or mapped. A float32 array (N, 3,257) of what the heads see is made of them.
    labels : array of int, shape (N,)
        Given labels, 0 to K - 1; of any value outside all folds.
    folds : array of int, shape (N,)
        From `assign_folds`; at least three of them. Rows of fold -1 are only predicted.
    num_classes : int
        K. A class that a training part lacks has probability zero there.
    weights : array of float, shape (N,), optional
        How much each row counts in training; one of weight 0 is only predicted.
    soft_labels : array of float, shape (N, K), optional
        Shares of the classes, which are taught in place of the labels; of any value outside all folds. A row
        with shares counts as one row for each class, weighted by them.
    on_progress : callable
        Called as ``on_progress("fit heads", done, total)``.

    Raises
    ------
    InputError
        If shapes differ, labels are out of range, shares do not sum to one, features are not finite, folds
        are fewer than three, or some folds together hold every row with weight.

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
    in_fold = folds >= 0
    weights, labels = np.where(in_fold, weights, np.float32(0)), np.where(in_fold, labels, 0)
    targets = labels if soft_labels is None else _checked_shares(soft_labels, in_fold, num_classes)
    names = np.unique(folds[in_fold]).tolist()
    pairs = list(zip(names, names[1:] + names[:1], strict=True))
    num_steps = len(pairs) + len(names)
    _check_weights(weights > 0, folds, pairs)

    input_map = fit_input_map(features, np.flatnonzero(weights > 0))
    rows = _Rows(input_map, input_map(features), targets, weights, folds, num_classes)
    tried: list[dict[int, _Curves]] = []
    for curves in _in_parallel(rows.try_strengths, pairs):
        tried.append(curves)
        on_progress("fit heads", len(tried), num_steps)

    def fit(fold: int) -> tuple[int, _FoldFit]:
        return fold, rows.fit(fold, [curves[fold] for curves in tried if fold in curves])

    fitted: dict[int, _FoldFit] = {}
    pred_probs = np.empty((len(labels), num_classes), np.float32)
    for fold, found in _in_parallel(fit, names):
        fitted[fold] = found
        pred_probs[folds == fold] = found.head.pred_probs(rows.inputs.rows(folds == fold))
        on_progress("fit heads", len(pairs) + len(fitted), num_steps)
    in_order, counts = [fitted[fold] for fold in names], weights > 0
    heads = Heads(
        input_map=input_map,
        of_folds=tuple(found.head for found in in_order),
        power=calibrated(floored_log(pred_probs[counts]), targets[counts], weights[counts])[0],
    )
    outside = rows.inputs.rows(~in_fold)
    of_one_head = np.empty((len(outside.components), num_classes), np.float32)
    if len(of_one_head):
        pred_probs[~in_fold] = heads.of_inputs(outside)
        for turn, head in enumerate(heads.of_folds):
            mine = slice(turn, None, len(names))
            of_one_head[mine] = head.pred_probs(outside.rows(mine))
    return HeadFit(
        pred_probs=pred_probs,
        of_one_head=of_one_head,
        regularization=tuple(found.strength for found in in_order),
        penalty=tuple(found.penalty for found in in_order),
        log_loss=_log_loss(pred_probs[in_fold], labels[in_fold]),
        accuracy_on_given=float((pred_probs[in_fold].argmax(axis=1) == labels[in_fold]).mean()),
        heads=heads,
    )


class _Curves(NamedTuple):
    """The trials of each model along its strengths, on one held-out part."""

    logistic: list[Trial]
    ridge: list[Trial]


class _FoldFit(NamedTuple):
    """The head of a fold, and the strengths of its models."""

    head: Head
    strength: float
    penalty: float


class _Rows:
    """All rows as the heads see them, with the sums of each fold."""

    def __init__(
        self,
        input_map: InputMap,
        inputs: Inputs,
        targets: NDArray[Any],
        weights: Floats,
        folds: NDArray[Any],
        num_classes: int,
    ) -> None:
        self.inputs, self.targets, self.weights, self.folds = inputs, targets, weights, folds
        self.variances, self.num_classes = input_map.variances, num_classes
        self.between_landmarks = input_map.likeness(input_map.landmarks).astype(np.float64)
        self.sums = {fold: self._sums(folds == fold) for fold in np.unique(folds[folds >= 0]).tolist()}

    def _sums(self, of: NDArray[np.bool_]) -> ridge.Sums:
        return ridge.sums_of(self.inputs.likeness[of], self.targets[of], self.weights[of], self.num_classes)

    def training_part(self, *left_out: int) -> tuple[logistic.Training, ridge.Sums]:
        """Return what either model is fitted on: the rows with weight in the other folds."""
        rows = (self.weights > 0) & ~np.isin(self.folds, left_out)
        sums = [sums for fold, sums in self.sums.items() if fold not in left_out]
        training = logistic.Training(
            self.inputs.components[rows], self.targets[rows], self.weights[rows], self.variances
        )
        return training, ridge.total(sums)

    def held_out(self, fold: int) -> HeldOut:
        """Return up to 20,000 rows with weight in a fold, on which models of other folds are compared."""
        rows = np.flatnonzero((self.weights > 0) & (self.folds == fold))
        rows = rows[:: -(-len(rows) // MOST_ROWS)]
        return HeldOut(self.inputs.rows(rows), self.targets[rows], self.weights[rows])

    def try_strengths(self, pair: tuple[int, int]) -> dict[int, _Curves]:
        """Return for each fold of a pair the trials on the other, of models that were fitted on neither."""
        training, sums = self.training_part(*pair)
        held_out = {fold: self.held_out(other) for fold, other in (pair, pair[::-1])}
        curves = logistic_curves(logistic.path(training, self.num_classes), held_out)
        few = sums.first(ridge.NUM_TRIAL_LANDMARKS)
        ridges = [ridge.solve(few, penalty, self.between_landmarks) for penalty in ridge.GRID]
        return {fold: _Curves(curves[fold], ridge_curve(ridges, own)) for fold, own in held_out.items()}

    def fit(self, fold: int, curves: Sequence[_Curves]) -> _FoldFit:
        """Return the head for a fold, fitted on all others with the strengths that did best among them."""
        training, sums = self.training_part(fold)
        at, factors = best_trial([each.logistic for each in curves])
        strength = logistic.GRID[at]
        coefficients = logistic.fit(training, strength, logistic.start(training, self.num_classes))
        at, more_factors = best_trial([each.ridge for each in curves])
        penalty = ridge.GRID[at]
        solved = ridge.solve(sums, penalty, self.between_landmarks)
        return _FoldFit(Head(coefficients, solved, (*factors, *more_factors)), strength, penalty)


def ridge_curve(ridges: Sequence[ridge.Ridge], held_out: HeldOut) -> list[Trial]:
    """Return the trials of ridge regressions of several penalties."""
    return [try_readings(ridge_readings(each, held_out.inputs.likeness), held_out) for each in ridges]


def logistic_curves(path: Iterator[Floats], held_out: dict[int, HeldOut]) -> dict[int, list[Trial]]:
    """Return for each fold the trials along the path, up to the first that is worse than another.

    Each fold's curve ends by its own held-out rows alone, so that no fold's labels reach its own choice.
    """
    curves: dict[int, list[Trial]] = {fold: [] for fold in held_out}
    rising = dict.fromkeys(held_out, False)
    for coefficients in path:
        for fold in [fold for fold in held_out if not rising[fold]]:
            own = held_out[fold]
            curves[fold].append(try_readings((own.inputs.components @ coefficients,), own))
            rising[fold] = curves[fold][-1].loss > min(trial.loss for trial in curves[fold])
        if all(rising.values()):
            break  # weaker regularization would overfit more, and takes longest
    return curves


def _check(features: NDArray[Any], labels: NDArray[Any], folds: NDArray[Any], num_classes: int) -> None:
    if features.ndim != 2 or labels.shape != (len(features),) or folds.shape != labels.shape:
        raise InputError(
            f"Features, labels and folds have shapes {features.shape}, {labels.shape} and {folds.shape}.",
            expected="Expected (N, D), (N,) and (N,).",
            remedy="Take all three from the same rows.",
        )
    num_folds, labels = len(np.unique(folds[folds >= 0])), labels[folds >= 0]
    if num_folds < 3:
        raise InputError(
            f"There are {num_folds} folds.",
            expected="At least three are needed: to hold out, to choose the regularization, to train on.",
            remedy="Split the rows into more folds.",
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise InputError(
            f"Labels run from {labels.min()} to {labels.max()}.",
            expected=f"They must lie in 0..{num_classes - 1}.",
            remedy="Correct the labels, or num_classes.",
        )
    starts = range(0, len(features), 10_000)
    if not all(np.isfinite(features[start : start + 10_000]).all() for start in starts):
        raise InputError(
            "The features hold NaN or infinity.", remedy="Leave out the rows of unreadable photos."
        )


def _checked_shares(soft_labels: ArrayLike, in_fold: NDArray[np.bool_], num_classes: int) -> Floats:
    """The shares (N, K), zero outside all folds; InputError where they are none."""
    shares = np.asarray(soft_labels, np.float32)
    if shares.shape != (len(in_fold), num_classes):
        raise InputError(
            f"Soft labels have shape {shares.shape}.",
            expected=f"Expected {(len(in_fold), num_classes)}.",
            remedy="Give each row one share for each class.",
        )
    bad = np.flatnonzero(in_fold & ~((shares >= 0).all(axis=1) & (np.abs(shares.sum(axis=1) - 1) < 1e-3)))
    if bad.size:
        raise InputError(
            f"The soft labels of row {bad[0]} are {shares[bad[0]].tolist()}.",
            expected="Expected shares from 0 that sum to 1.",
            remedy="Divide them by their sum.",
        )
    return np.where(in_fold[:, None], shares, np.float32(0))


def _check_weights(weighted: NDArray[np.bool_], folds: NDArray[Any], pairs: list[tuple[int, int]]) -> None:
    for pair in pairs:
        if not (weighted & ~np.isin(folds, pair)).any() or not (weighted & (folds == pair[0])).any():
            raise InputError(
                f"No row has weight in fold {pair[0]}, or outside folds {pair[0]} and {pair[1]}.",
                expected="Every fold needs rows whose weight is above zero.",
                remedy="Drop fewer rows, or split into fewer folds.",
            )


def _log_loss(probabilities: Floats, labels: NDArray[Any]) -> float:
    of_given = probabilities[np.arange(len(labels)), labels]
    return float(-floored_log(of_given).astype(np.float64).mean())


def _in_parallel(function: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[Result]:
    """Yield results as they come, one job a core; BLAS is kept from using every core for each job."""
    from joblib import Parallel, cpu_count, delayed
    from threadpoolctl import threadpool_limits

    workers = min(cpu_count(), len(jobs))
    with threadpool_limits(max(1, cpu_count() // workers)):
        parallel = Parallel(workers, backend="threading", return_as="generator_unordered")
        yield from parallel(delayed(function)(job) for job in jobs)
