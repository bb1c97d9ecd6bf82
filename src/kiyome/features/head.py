"""Cross-fitted heads: each row's probabilities come from models that saw the labels of other folds only.

N rows, D features, K classes, F folds; M rows outside all folds.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.artifacts.predictions import floored_log
from kiyome.cores import in_threads, one_blas_thread
from kiyome.errors import InputError
from kiyome.features import logistic, ridge
from kiyome.features.inputs import InputMap, Inputs, fit_inputs
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
Result = TypeVar("Result")

Curves = dict[int, list[Trial]]
"""For each fold of a pair, the trials of a model along its strengths on the other fold."""


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


@one_blas_thread()
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
    _check_weights(weights > 0, folds, pairs)

    input_map, inputs = fit_inputs(features, np.flatnonzero(weights > 0))
    rows = _Rows(input_map, inputs, targets, weights, folds, num_classes)
    ridges, logistics = rows.cross_fit(names, pairs, on_progress)
    of_folds = [
        Head(logistic.model, ridge.model, (*logistic.factors, *ridge.factors))
        for logistic, ridge in zip(logistics, ridges, strict=True)
    ]
    pred_probs = np.empty((len(labels), num_classes), np.float32)
    for fold, head in zip(names, of_folds, strict=True):
        pred_probs[folds == fold] = head.pred_probs(inputs.rows(folds == fold))
    counts = weights > 0
    heads = Heads(
        input_map=input_map,
        of_folds=tuple(of_folds),
        power=calibrated(floored_log(pred_probs[counts]), targets[counts], weights[counts])[0],
    )
    outside = inputs.rows(~in_fold)
    of_one_head = np.empty((len(outside.components), num_classes), np.float32)
    if len(of_one_head):
        pred_probs[~in_fold] = heads.of_inputs(outside)
        for turn, head in enumerate(heads.of_folds):
            mine = slice(turn, None, len(names))
            of_one_head[mine] = head.pred_probs(outside.rows(mine))
    return HeadFit(
        pred_probs=pred_probs,
        of_one_head=of_one_head,
        regularization=tuple(found.strength for found in logistics),
        penalty=tuple(found.strength for found in ridges),
        log_loss=_log_loss(pred_probs[in_fold], labels[in_fold]),
        accuracy_on_given=float((pred_probs[in_fold].argmax(axis=1) == labels[in_fold]).mean()),
        heads=heads,
    )


class _Fitted(NamedTuple):
    """One of the two models of a fold."""

    model: Any
    """Coefficients of logistic regression, or a `Ridge`."""
    strength: float
    """Of its regularization."""
    factors: tuple[float, ...]
    """The sharpness of its readings."""


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
        self.between_landmarks = inputs.likeness[input_map.landmark_rows].astype(np.float64)
        names = np.unique(folds[folds >= 0]).tolist()
        self.sums = dict(zip(names, in_threads(self._sums, names), strict=True))

    def _sums(self, fold: int) -> ridge.Sums:
        rows = np.flatnonzero(self.folds == fold)
        return ridge.sums_of(self.inputs.likeness, rows, self.targets, self.weights, self.num_classes)

    def training(self, *left_out: int) -> logistic.Training:
        """Return the rows with weight in the other folds, as logistic regression takes them."""
        rows = (self.weights > 0) & ~np.isin(self.folds, left_out)
        return logistic.Training(
            self.inputs.components[rows], self.targets[rows], self.weights[rows], self.variances
        )

    def held_out(self, fold: int) -> HeldOut:
        """Return up to 20,000 rows with weight in a fold, on which models of other folds are compared."""
        rows = np.flatnonzero((self.weights > 0) & (self.folds == fold))
        rows = rows[:: -(-len(rows) // MOST_ROWS)]
        return HeldOut(self.inputs.rows(rows), self.targets[rows], self.weights[rows])

    def cross_fit(
        self, folds: list[int], pairs: list[tuple[int, int]], on_progress: Progress
    ) -> tuple[list[_Fitted], list[_Fitted]]:
        """Return ridge and logistic regression of each fold, of the strengths that did best for it."""
        steps = count(1)

        def of_both(
            ridges: list[Callable[[], Result]], logistics: list[Callable[[], Result]]
        ) -> tuple[list[Result], list[Result]]:
            found = []
            for result in in_threads(lambda job: job(), ridges + logistics):  # what takes longest goes first
                found.append(result)
                on_progress("fit heads", next(steps), 4 * len(folds))
            return found[: len(ridges)], found[len(ridges) :]

        ridges, logistics = of_both(
            [partial(self.try_ridge, pair) for pair in pairs],
            [partial(self.try_logistic, pair) for pair in pairs],
        )
        return of_both(
            [partial(self.fit_ridge, fold, _trials_for(fold, ridges)) for fold in folds],
            [partial(self.fit_logistic, fold, _trials_for(fold, logistics)) for fold in folds],
        )

    def try_ridge(self, pair: tuple[int, int]) -> Curves:
        """Return the trials of ridge regressions that were fitted on neither fold of a pair."""
        few = [sums.first(ridge.NUM_TRIAL_LANDMARKS) for fold, sums in self.sums.items() if fold not in pair]
        sums = ridge.total(few)
        ridges = [ridge.solve(sums, penalty, self.between_landmarks) for penalty in ridge.GRID]
        return {fold: ridge_curve(ridges, self.held_out(other)) for fold, other in (pair, pair[::-1])}

    def try_logistic(self, pair: tuple[int, int]) -> Curves:
        """Return the trials of logistic regressions that were fitted on neither fold of a pair."""
        held_out = {fold: self.held_out(other) for fold, other in (pair, pair[::-1])}
        return logistic_curves(logistic.path(self.training(*pair), self.num_classes), held_out)

    def fit_ridge(self, fold: int, curves: Sequence[list[Trial]]) -> _Fitted:
        """Return ridge regression fitted on all other folds, of the penalty that did best among them."""
        at, factors = best_trial(curves)
        sums = ridge.total([sums for other, sums in self.sums.items() if other != fold])
        return _Fitted(ridge.solve(sums, ridge.GRID[at], self.between_landmarks), ridge.GRID[at], factors)

    def fit_logistic(self, fold: int, curves: Sequence[list[Trial]]) -> _Fitted:
        """Return logistic regression fitted on all other folds, of the strength that did best among them."""
        at, factors = best_trial(curves)
        training = self.training(fold)
        coefficients = logistic.fit(training, logistic.GRID[at], logistic.start(training, self.num_classes))
        return _Fitted(coefficients, logistic.GRID[at], factors)


def _trials_for(fold: int, curves: list[Curves]) -> list[list[Trial]]:
    """Return the trials that have a say in a fold's strength."""
    return [each[fold] for each in curves if fold in each]


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
