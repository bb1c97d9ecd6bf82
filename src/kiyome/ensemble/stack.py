"""A final estimator on members' out-of-fold probabilities, with or without the chance of a wrong label.

N rows, K classes, M members, F folds.

    rows of the other folds ─► would they be flagged? ─► flag classifier, cross-fitted among them ┐
                          └─► members' log probabilities ───────────────────────────────────────┴─► Stack
    rows of this fold      ─► the same features, by what was fitted on the other folds ─► Stack ─► score

What reaches a row's own label. Nothing that is fitted here: flags, flag classifier, regularization and final
estimator of a fold never see its labels. What remains is in the inputs: members that predicted the other
folds were trained on this fold's labels, and so carry a trace of them into the features that the estimator
learns from, though never into the row's own. To take that away, too, all members would have to be trained
again for each pair of folds.
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

LEAK = "is_noisy was computed from each row's own label: this score leaks and cannot be had on new photos"
LOWEST_CHANCE = 1e-3  # of a flag; its log odds stay finite


@dataclass(frozen=True, kw_only=True, eq=False)
class Stack:
    """A final estimator, ready for new photos."""

    model: str
    final: Classifier
    flags: Classifier | None = None
    """From members' probabilities to the chance that a row would be flagged; None without `is_noisy`."""

    def predict(self, members: Sequence[ArrayLike]) -> Probs:
        """Probabilities (N, K) of rows that members predicted without having seen them."""
        stacked = check_members(members)
        chance = None if self.flags is None else _chance(self.flags, stacked)
        return self.final.predict(_features(stacked, chance))


@dataclass(frozen=True, kw_only=True, eq=False)
class StackFit:
    """A stack and what it says of rows that it was not fitted on."""

    pred_probs: Probs
    """(N, K) each row by a stack that was fitted on the other folds."""
    stack: Stack | None
    """Fitted on all rows, for new photos; None where own flags leaked in, which new photos do not have."""
    flag_probability: NDArray[np.float64] | None
    """(N,) out of fold, the chance that a row would be flagged; None without `is_noisy`."""
    notes: tuple[str, ...] = ()
    """What people should hear of it."""


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
    """Probabilities (N, K) of a final estimator that never saw the row, and the one for new photos.

    Parameters
    ----------
    labels
        (N,) given labels, whole numbers from 0 to K-1.
    members
        M arrays (N, K) of out-of-fold probabilities, rows sum to one, made on these folds.
    folds
        (N,) the deal, at least three folds: one is held out, one judges how much to learn, the rest teach.
    model
        "linear": multinomial logistic regression on log probabilities. "lightgbm": boosted trees. Both
        choose how much to learn inside the training folds.
    is_noisy
        Add a feature: the chance that the row would be flagged as a label issue, predicted from the members'
        probabilities alone by a classifier that was fitted on other folds' rows and flags.
    leaking_flags
        (N,) flags themselves as the feature. They were computed from the labels that are to be predicted:
        only to show what that fakes.
    on_progress
        Hears ("fit stack", done, F + 1).

    Raises
    ------
    InputError
        Flags passed as `is_noisy`; an unknown model; arrays that break a stated rule.
    MissingExtra
        For "lightgbm" without the package.

    Notes
    -----
    Wolpert (1992), "StackFit generalization", Neural Networks 5, 241-259. On cassava's out-of-fold
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
    dealt = check_folds(folds, len(given), at_least=3)
    own = None if leaking_flags is None else _check_flags(leaking_flags, len(given))
    pred_probs = np.empty(stacked.shape[1:])
    chance = np.empty(len(given)) if is_noisy else None
    num_steps = len(np.unique(dealt)) + (own is None)
    for done, (_, held) in enumerate(held_out(dealt), start=1):
        rest = ~held
        if own is not None:
            pred_probs[held] = _leaking(given, stacked, dealt, own, held, model)
        else:
            fitted = _fit(given[rest], stacked[:, rest], dealt[rest], model, is_noisy=is_noisy)
            pred_probs[held] = fitted.predict(list(stacked[:, held]))
            if chance is not None and fitted.flags is not None:
                chance[held] = _chance(fitted.flags, stacked[:, held])
        on_progress("fit stack", done, num_steps)
    predictor = None if own is not None else _fit(given, stacked, dealt, model, is_noisy=is_noisy)
    on_progress("fit stack", num_steps, num_steps)
    return StackFit(
        pred_probs=pred_probs,
        stack=predictor,
        flag_probability=chance,
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
    """The stack of all these rows, for rows that are none of them; arguments as in `cross_fitted_stack`.

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
    """The chance (N,) that each row would be flagged, by what other folds' rows and flags say.

    Labels of a row's fold change nothing in it: flags of the other folds are found without them, too.

    Parameters
    ----------
    labels, members, folds, model
        As for `cross_fitted_stack`; two folds are enough.

    Examples
    --------
    >>> p = np.tile([0.99, 0.01, 0.6, 0.4], 50)
    >>> rng = np.random.default_rng(0)
    >>> labels, folds = (rng.random(200) > p).astype(int), np.arange(200) // 4 % 2
    >>> chance = out_of_fold_flag_probability(labels, [np.column_stack([p, 1 - p])], folds).reshape(-1, 4)
    >>> bool(chance[:, 2:].min() > chance[:, :2].max())
    True
    """
    choose("model", model, FLAGS)
    stacked = check_members(members)
    given = check_given(labels, *stacked.shape[1:])
    return _cross_fitted_chance(given, stacked, check_folds(folds, len(given)), model)


def _fit(labels: Labels, members: Probs, folds: Folds, model: str, *, is_noisy: bool) -> Stack:
    chance = _cross_fitted_chance(labels, members, folds, model) if is_noisy else None
    final = FINAL[model](_features(members, chance), labels, folds, members.shape[2])
    return Stack(model=model, final=final, flags=_fit_flags(labels, members, model) if is_noisy else None)


def _cross_fitted_chance(labels: Labels, members: Probs, folds: Folds, model: str) -> NDArray[np.float64]:
    chance = np.empty(len(labels))
    for _, held in held_out(folds):
        chance[held] = _chance(_fit_flags(labels[~held], members[:, ~held], model), members[:, held])
    return chance


def _fit_flags(labels: Labels, members: Probs, model: str) -> Classifier:
    """Flags are found among these rows alone, so that no other label sets a threshold."""
    flagged = find_label_issues(labels, members.mean(axis=0))
    return FLAGS[model](_flag_features(members), flagged.astype(np.intp), 2)


def _chance(flags: Classifier, members: Probs) -> NDArray[np.float64]:
    chance: NDArray[np.float64] = flags.predict(_flag_features(members))[:, 1]
    return chance


def _flag_features(members: Probs) -> Probs:
    """Log probabilities by class, and by size: the second tells doubt, whatever the classes."""
    logs = floored_log(members)
    return np.column_stack([_side_by_side(logs), _side_by_side(np.sort(logs, axis=2))])


def _features(members: Probs, chance: NDArray[np.float64] | None) -> Probs:
    log_probs = _side_by_side(floored_log(members))
    if chance is None:
        return log_probs
    bounded = chance.clip(LOWEST_CHANCE, 1 - LOWEST_CHANCE)
    return np.column_stack([log_probs, np.log(bounded / (1 - bounded))])


def _side_by_side(members: Probs) -> Probs:
    """(M, N, K) as (N, M * K)."""
    return members.transpose(1, 0, 2).reshape(members.shape[1], -1)


def _leaking(labels: Labels, members: Probs, folds: Folds, own_flags: Mask, held: Mask, model: str) -> Probs:
    features = np.column_stack([_side_by_side(floored_log(members)), own_flags])
    final = FINAL[model](features[~held], labels[~held], folds[~held], members.shape[2])
    return final.predict(features[held])


def _check_switches(model: str, is_noisy: object, leaking_flags: object) -> None:
    choose("model", model, FINAL)
    if not isinstance(is_noisy, bool):
        raise InputError(
            "is_noisy is True or False: the feature is predicted out of fold, from probabilities alone.",
            came=f"{type(is_noisy).__name__}; flags that were found by a row's own label leak that label",
            remedy="Say is_noisy=True; to show what the leak fakes, pass the flags as leaking_flags=.",
        )
    if is_noisy and leaking_flags is not None:
        raise InputError(
            "is_noisy is predicted, or leaks.", came="both switches", remedy="Leave one of them out."
        )


def _check_flags(flags: ArrayLike, num_rows: int) -> Mask:
    own = np.asarray(flags)
    if own.shape != (num_rows,) or own.dtype != np.bool_:
        raise InputError(
            "leaking_flags is a mask, one boolean a row.",
            came=f"shape {own.shape}, {own.dtype} for {num_rows} rows",
            remedy="Pass what find_label_issues gives.",
        )
    return own
