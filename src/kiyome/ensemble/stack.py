"""A final estimator on members' out-of-fold probabilities, with or without the probability of a flag.

N rows, K classes, M members, F folds.

    rows of the other folds ─► would they be flagged? ─► flag classifier, cross-fitted among them ┐
                          └─► members' log probabilities ───────────────────────────────────────┴─► Stack
    rows of this fold      ─► the same features, by what was fitted on the other folds ─► Stack ─► score

Leaks. Flags, flag classifier, regularization and final estimator of a fold never see its labels. A trace
remains in the inputs: members that predicted the other folds were trained on this fold's labels, and carry it
into the features that the estimator is trained on, though never into the row's own. To remove it, all members
would have to be trained again for each pair of folds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.artifacts.predictions import floored_log
from kiyome.ensemble.classifiers import FINAL, FLAGS, Classifier
from kiyome.ensemble.validation import (
    Folds,
    Labels,
    Mask,
    Probs,
    check_folds,
    check_given,
    check_members,
    held_out,
)
from kiyome.errors import InputError, choose
from kiyome.noise import find_label_issues
from kiyome.progress import Progress, no_progress

LEAK = "is_noisy was computed from each row's own label: this score leaks; new photos cannot reach it"
LOWEST_PROBABILITY = 1e-3  # of a flag; its log odds stay finite


@dataclass(frozen=True, kw_only=True, eq=False)
class Stack:
    """A final estimator, ready for new photos."""

    model: str
    final: Classifier
    flags: Classifier | None = None
    """Predicts the probability of a flag from members' probabilities; None without `is_noisy`."""

    def predict(self, members: Sequence[ArrayLike]) -> Probs:
        """Return probabilities (N, K) of rows that members predicted out of sample."""
        stacked = check_members(members)
        probability = None if self.flags is None else _flag_probability(self.flags, stacked)
        return self.final.predict(_features(stacked, probability))


@dataclass(frozen=True, kw_only=True, eq=False)
class StackFit:
    """A stack, and out-of-fold predictions of the rows that it was fitted on."""

    pred_probs: Probs
    """(N, K) each row by a stack that was fitted on the other folds."""
    stack: Stack | None
    """Fitted on all rows, for new photos; None with leaking flags, which new photos do not have."""
    flag_probability: NDArray[np.float64] | None
    """(N,) out of fold, the probability that a row would be flagged; None without `is_noisy`."""
    notes: tuple[str, ...] = ()
    """Caveats, each a sentence."""


def cross_fitted_stack(
    labels: ArrayLike,
    members: Sequence[ArrayLike],
    folds: ArrayLike,
    *,
    model: str = "linear",
    is_noisy: bool = False,
    leaking_flags: ArrayLike | None = None,
    on_progress: Progress = no_progress,
) -> StackFit:
    """Return cross-fitted probabilities (N, K) of a final estimator, and the estimator for new photos.

    Parameters
    ----------
    labels
        (N,) given labels, whole numbers from 0 to K-1.
    members
        M arrays (N, K) of out-of-fold probabilities, rows sum to one, made on these folds.
    folds
        (N,) at least three folds: one is held out, one selects the regularization, the others train.
    model
        "linear": multinomial logistic regression on log probabilities. "lightgbm": boosted trees. Both select
        their regularization inside the training folds.
    is_noisy
        Add a feature: the probability that the row would be flagged as a label issue, predicted from the
        members' probabilities alone by a classifier fitted on other folds' rows and flags.
    leaking_flags
        (N,) flags themselves as the feature. They depend on the labels to be predicted: only to demonstrate
        the leak.
    on_progress
        Called with ("fit stack", done, F + 1).

    Raises
    ------
    InputError
        Flags passed as `is_noisy`; an unknown model; unsuitable arrays.
    MissingExtra
        For "lightgbm" without the package.

    Notes
    -----
    Wolpert (1992), "Stacked generalization", Neural Networks 5, 241-259. On cassava's out-of-fold
    predictions (n = 21,397) boosted trees reached 0.9035 on given labels, 0.9027 with `is_noisy`, and 0.9335
    with each row's own flag: a gain that no new photo can have (benchmarks/cassava_diary.py).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels, folds = np.arange(90) % 2, np.arange(90) // 30
    >>> p = np.clip(rng.normal(0.3 + 0.4 * labels, 0.2), 0.01, 0.99)
    >>> stacked = cross_fitted_stack(labels, [np.column_stack([1 - p, p])], folds)
    >>> stacked.pred_probs.shape, stacked.stack.model
    ((90, 2), 'linear')
    """
    _check_switches(model, is_noisy, leaking_flags)
    stacked = check_members(members)
    given = check_given(labels, *stacked.shape[1:])
    fold_of_row = check_folds(folds, len(given), at_least=3)
    own = None if leaking_flags is None else _check_flags(leaking_flags, len(given))
    pred_probs = np.empty(stacked.shape[1:])
    probability = np.empty(len(given)) if is_noisy else None
    num_steps = len(np.unique(fold_of_row)) + (own is None)
    for done, (_, held) in enumerate(held_out(fold_of_row), start=1):
        rest = ~held
        if own is not None:
            pred_probs[held] = _leaking(given, stacked, fold_of_row, own, held, model)
        else:
            fitted = _fit(given[rest], stacked[:, rest], fold_of_row[rest], model, is_noisy=is_noisy)
            pred_probs[held] = fitted.predict(list(stacked[:, held]))
            if probability is not None and fitted.flags is not None:
                probability[held] = _flag_probability(fitted.flags, stacked[:, held])
        on_progress("fit stack", done, num_steps)
    predictor = None if own is not None else _fit(given, stacked, fold_of_row, model, is_noisy=is_noisy)
    on_progress("fit stack", num_steps, num_steps)
    return StackFit(
        pred_probs=pred_probs,
        stack=predictor,
        flag_probability=probability,
        notes=() if own is None else (LEAK,),
    )


def fit_stack(
    labels: ArrayLike,
    members: Sequence[ArrayLike],
    folds: ArrayLike,
    *,
    model: str = "linear",
    is_noisy: bool = False,
) -> Stack:
    """Return a stack fitted on all these rows, for other rows; arguments as in `cross_fitted_stack`.

    >>> labels, folds = [0, 1] * 6, [0] * 4 + [1] * 4 + [2] * 4
    >>> stack = fit_stack(labels, [[[0.7, 0.3], [0.4, 0.6]] * 6], folds)
    >>> stack.predict([[[0.7, 0.3]]]).argmax(axis=1)
    array([0])
    """
    _check_switches(model, is_noisy, None)
    stacked = check_members(members)
    given = check_given(labels, *stacked.shape[1:])
    return _fit(given, stacked, check_folds(folds, len(given)), model, is_noisy=is_noisy)


def out_of_fold_flag_probability(
    labels: ArrayLike, members: Sequence[ArrayLike], folds: ArrayLike, *, model: str = "linear"
) -> NDArray[np.float64]:
    """Return the probability (N,) that each row would be flagged, from other folds' rows and flags.

    It does not depend on labels of the row's fold: flags of the other folds are found without them, too.

    >>> p, folds = np.tile([0.99, 0.01, 0.9, 0.1], 50), np.arange(200) // 4 % 2
    >>> is_wrong = np.random.default_rng(0).random(200) < np.tile([0, 0, 0.3, 0.3], 50)
    >>> labels = ((p < 0.5) ^ is_wrong).astype(int)
    >>> members = [np.column_stack([p, 1 - p])]
    >>> flagged = out_of_fold_flag_probability(labels, members, folds).reshape(-1, 4)
    >>> bool(flagged[:, 2:].min() > flagged[:, :2].max())
    True
    """
    choose("model", model, FLAGS)
    stacked = check_members(members)
    given = check_given(labels, *stacked.shape[1:])
    return _cross_fitted_probability(given, stacked, check_folds(folds, len(given)), model)


def _fit(labels: Labels, members: Probs, folds: Folds, model: str, *, is_noisy: bool) -> Stack:
    probability = _cross_fitted_probability(labels, members, folds, model) if is_noisy else None
    final = FINAL[model](_features(members, probability), labels, folds, members.shape[2])
    return Stack(model=model, final=final, flags=_fit_flags(labels, members, model) if is_noisy else None)


def _cross_fitted_probability(
    labels: Labels, members: Probs, folds: Folds, model: str
) -> NDArray[np.float64]:
    probability = np.empty(len(labels))
    for _, held in held_out(folds):
        probability[held] = _flag_probability(
            _fit_flags(labels[~held], members[:, ~held], model), members[:, held]
        )
    return probability


def _fit_flags(labels: Labels, members: Probs, model: str) -> Classifier:
    """Return a flag classifier; flags are found among these rows alone, without other labels."""
    flagged = find_label_issues(labels, members.mean(axis=0))
    return FLAGS[model](_flag_features(members), flagged.astype(np.intp), 2)


def _flag_probability(flags: Classifier, members: Probs) -> NDArray[np.float64]:
    probability: NDArray[np.float64] = flags.predict(_flag_features(members))[:, 1]
    return probability


def _flag_features(members: Probs) -> Probs:
    """Return log probabilities by class, and sorted: the second show doubt independently of the class."""
    logs = floored_log(members)
    return np.column_stack([_side_by_side(logs), _side_by_side(np.sort(logs, axis=2))])


def _features(members: Probs, probability: NDArray[np.float64] | None) -> Probs:
    log_probs = _side_by_side(floored_log(members))
    if probability is None:
        return log_probs
    bounded = probability.clip(LOWEST_PROBABILITY, 1 - LOWEST_PROBABILITY)
    return np.column_stack([log_probs, np.log(bounded / (1 - bounded))])


def _side_by_side(members: Probs) -> Probs:
    """Return (M, N, K) as (N, M * K)."""
    return members.transpose(1, 0, 2).reshape(members.shape[1], -1)


def _leaking(labels: Labels, members: Probs, folds: Folds, own_flags: Mask, held: Mask, model: str) -> Probs:
    features = np.column_stack([_side_by_side(floored_log(members)), own_flags])
    final = FINAL[model](features[~held], labels[~held], folds[~held], members.shape[2])
    return final.predict(features[held])


def _check_switches(model: str, is_noisy: object, leaking_flags: object) -> None:
    choose("model", model, FINAL)
    if not isinstance(is_noisy, bool):
        raise InputError(
            f"is_noisy is of type {type(is_noisy).__name__}; flags found by a row's own label would leak it.",
            expected="Expected True or False: the feature is predicted out of fold from probabilities.",
            remedy="Pass is_noisy=True; to demonstrate the leak, pass the flags as leaking_flags=.",
        )
    if is_noisy and leaking_flags is not None:
        raise InputError(
            "Both is_noisy and leaking_flags are given.",
            expected="Expected one of them.",
            remedy="Leave one out.",
        )


def _check_flags(flags: ArrayLike, num_rows: int) -> Mask:
    own = np.asarray(flags)
    if own.shape != (num_rows,) or own.dtype != np.bool_:
        raise InputError(
            f"leaking_flags has shape {own.shape} of {own.dtype}.",
            expected=f"Expected a mask of {num_rows} rows.",
            remedy="Pass the result of find_label_issues.",
        )
    return own
