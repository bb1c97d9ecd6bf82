"""Several members as one: means, and weights fitted on other rows than they are scored on.

N rows, K classes, M members, F folds.

    blend_pred_probs      a mean of members: of probabilities, of logarithms, of ranks
    fit_weights           weights on the simplex that make the given labels most likely
    cross_fitted_blend    the same, each fold weighted by a fit on the others: an out-of-fold score
    diversity             how members differ, and what each contributes
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.artifacts.predictions import floored_log
from kiyome.ensemble.validation import (
    Labels,
    Probs,
    check_folds,
    check_given,
    check_members,
    held_out,
    log_loss,
    normalized,
    softmax,
)
from kiyome.errors import InputError, choose

Weights = NDArray[np.float64]

GAP = 1e-6
"""The fit ends when no weights have a log loss that is lower by more than this, in nats."""

ROUNDS = 10_000


def blend_pred_probs(
    members: Sequence[ArrayLike],
    *,
    how: str = "mean",
    weights: ArrayLike | None = None,
    reference: Sequence[ArrayLike] | None = None,
) -> Probs:
    """Return probabilities (N, K) that are a mean of the members'.

    Parameters
    ----------
    members
        M arrays (N, K), rows sum to one.
    how
        "mean": of probabilities. "log": of their logarithms, the geometric mean: one member can veto. "rank":
        each class's probabilities are replaced by their ranks among all rows, ranks are averaged, and
        converted back to the mean probability at such a rank: over- and under-confident members count alike.
    weights
        (M,) not negative; equal ones if not given. They are divided by their sum.
    reference
        For "rank": the rows among which ranks are counted, M arrays (R, K). The members' own if not given;
        new photos are ranked among known rows, so that they do not depend on each other.

    Raises
    ------
    InputError
        No member, unequal shapes, rows that are no distributions, negative weights.

    Notes
    -----
    Equal weights suit members of about equal quality: three networks on CIFAR-10N's majority labels gained
    1.5 points of true accuracy over the best one, with fitted weights 1.2 (n = 50,000). Of eight networks on
    CIFAR-10's test photos (accuracy 0.932 to 0.973) every equal mean lost to the best one, by 0.4 to 0.6
    points; fitted weights gained 0.16 (95 % interval 0.02 to 0.31, n = 10,000; benchmarks/blend_cifar10.py).

    Examples
    --------
    >>> blend_pred_probs([[[0.9, 0.1]], [[0.5, 0.5]]]).round(3)
    array([[0.7, 0.3]])
    >>> blend_pred_probs([[[0.9, 0.1]], [[0.5, 0.5]]], how="log").round(3)
    array([[0.75, 0.25]])
    """
    choose("how", how, (*MEANS, "rank"))
    stacked = check_members(members)
    share = _check_weights(weights, len(stacked))
    if how != "rank":
        return MEANS[how](stacked, share)
    among = stacked if reference is None else check_members(reference)
    if among.shape[::2] != stacked.shape[::2]:
        raise InputError(
            f"The reference has shape {among.shape}, the members have {stacked.shape}.",
            expected="Expected the same members and classes.",
            remedy="Pass the members' out-of-fold predictions, in the same order.",
        )
    return _rank_mean(stacked, share, np.sort(among, axis=1))


def arithmetic_mean(members: Probs, weights: Weights) -> Probs:
    """Return the weighted mean of probabilities (M, N, K)."""
    mean: Probs = np.tensordot(weights, members, axes=1)
    return mean


def geometric_mean(members: Probs, weights: Weights) -> Probs:
    """Return the weighted mean of log probabilities (M, N, K), rows at one."""
    return softmax(np.tensordot(weights, floored_log(members), axes=1))


def _rank_mean(members: Probs, weights: Weights, ordered: Probs) -> Probs:
    """Return the mean of ranks, as probabilities; `ordered` (M, R, K) are the reference's sorted columns."""
    typical = arithmetic_mean(ordered, weights)  # (R, K) mean probability at each rank
    all_ranks = np.arange(ordered.shape[1], dtype=np.float64)
    blended = np.empty(members.shape[1:])
    for k in range(members.shape[2]):
        ranks = [_ranks(column[:, k], base[:, k]) for column, base in zip(members, ordered, strict=True)]
        blended[:, k] = np.interp(np.average(ranks, axis=0, weights=weights), all_ranks, typical[:, k])
    return normalized(np.maximum(blended, np.finfo(np.float64).tiny))


def _ranks(values: Probs, ordered: Probs) -> Probs:
    """Return the ranks of values in a sorted column: the middle of equals, else between neighbors."""
    first = np.searchsorted(ordered, values, side="left")
    after = np.searchsorted(ordered, values, side="right")
    all_ranks = np.arange(len(ordered), dtype=np.float64)
    return np.where(after > first, (first + after - 1) / 2, np.interp(values, ordered, all_ranks))


def _check_weights(weights: ArrayLike | None, num_members: int) -> Weights:
    if weights is None:
        return np.full(num_members, 1 / num_members)
    share = np.asarray(weights, dtype=np.float64)
    if share.shape != (num_members,) or not (np.isfinite(share) & (share >= 0)).all() or share.sum() <= 0:
        raise InputError(
            f"The weights are {share.tolist()}.",
            expected=f"Expected {num_members} finite numbers of 0 or more, not all 0: one a member.",
            remedy="Correct them.",
        )
    return _to_one(share)


def _to_one(weights: Weights) -> Weights:
    share: Weights = weights / weights.sum()
    return share


def fit_weights(labels: ArrayLike, members: Sequence[ArrayLike]) -> Weights:
    """Return weights (M,), not negative, sum one, of the mean of probabilities with the least log loss.

    Parameters
    ----------
    labels
        (N,) given labels, whole numbers from 0 to K-1.
    members
        M arrays (N, K) of out-of-fold probabilities, rows sum to one.

    Raises
    ------
    InputError
        As `blend_pred_probs`; labels that do not fit.

    Notes
    -----
    The log loss is convex in the weights. They are the mixture proportions that Expectation Maximization
    finds (Dempster, Laird and Rubin 1977): each member's weight becomes its mean share in the blend's
    probability of the given label. The largest mean ratio of a member to the blend, less one, bounds the gain
    of any other weights; the fit ends below 1e-6 nats.

    The score of a blend on the rows its weights were fitted on is biased: see `cross_fitted_blend`.

    Examples
    --------
    >>> good, blind = [[0.9, 0.1], [0.1, 0.9]], [[0.5, 0.5], [0.5, 0.5]]
    >>> fit_weights([0, 1], [good, blind]).round(3)
    array([1., 0.])
    """
    stacked = check_members(members)
    given = check_given(labels, *stacked.shape[1:])
    return _fitted(_own(stacked, given))


def _own(members: Probs, labels: Labels) -> Probs:
    """Return (N, M) each member's probability of each row's label."""
    own: Probs = members[:, np.arange(len(labels)), labels].T
    return np.maximum(own, np.finfo(np.float32).tiny)


def _fitted(own: Probs) -> Weights:
    weights = np.full(own.shape[1], 1 / own.shape[1])
    for _ in range(ROUNDS):
        gains = (own / (own @ weights)[:, np.newaxis]).mean(axis=0)
        if gains.max() - 1 < GAP:
            break
        weights *= gains
    return _to_one(weights)


@dataclass(frozen=True, kw_only=True, eq=False)
class BlendFit:
    """A blend with fitted weights."""

    pred_probs: Probs
    """(N, K) each row by weights that were fitted on the other folds: for an out-of-fold score."""
    weights_by_fold: dict[int, Weights]
    """For each fold, the weights (M,) of its rows."""
    weights: Weights
    """(M,) fitted on all rows: for new photos."""


def cross_fitted_blend(labels: ArrayLike, members: Sequence[ArrayLike], folds: ArrayLike) -> BlendFit:
    """Blend members by weights fitted on the *other* folds, and fit weights for new photos.

    Parameters
    ----------
    labels, members
        As for `fit_weights`.
    folds
        (N,) the folds that the members were trained on, at least two.

    Raises
    ------
    InputError
        As `fit_weights`; folds that do not fit.

    Notes
    -----
    No row's label affects its own weights. A trace remains: members that predicted the other folds were
    trained on this fold's labels. M - 1 numbers can hardly carry it.

    Examples
    --------
    >>> good, blind = np.tile([[0.9, 0.1], [0.1, 0.9]], (2, 1)), np.full((4, 2), 0.5)
    >>> fitted = cross_fitted_blend([0, 1, 0, 1], [good, blind], [0, 0, 1, 1])
    >>> fitted.weights.round(3), fitted.pred_probs[0].round(3)
    (array([1., 0.]), array([0.9, 0.1]))
    """
    stacked = check_members(members)
    given = check_given(labels, *stacked.shape[1:])
    fold_of_row = check_folds(folds, len(given))
    own = _own(stacked, given)
    by_fold = {fold: _fitted(own[~held]) for fold, held in held_out(fold_of_row)}
    blended = np.empty(stacked.shape[1:])
    for fold, held in held_out(fold_of_row):
        blended[held] = arithmetic_mean(stacked[:, held], by_fold[fold])
    return BlendFit(pred_probs=blended, weights_by_fold=by_fold, weights=_fitted(own))


@dataclass(frozen=True, kw_only=True, eq=False)
class Diversity:
    """Differences of M members, and the contribution of each to the blend."""

    disagreement: NDArray[np.float64]
    """(M, M) share of rows where two members' likeliest classes differ."""
    error_correlation: NDArray[np.float64]
    """(M, M) correlation of errors on given labels; nan for a member that is never or always wrong."""
    agreement_with_blend: NDArray[np.float64]
    """(M,) share of rows where a member's likeliest class is the blend's."""
    log_loss_gain_when_left_out: NDArray[np.float64]
    """(M,) log loss with all, less without this member: positive where the others are better alone."""
    accuracy_gain_when_left_out: NDArray[np.float64]
    """(M,) accuracy on given labels without this member, less with all."""


def diversity(
    labels: ArrayLike,
    members: Sequence[ArrayLike],
    *,
    blend: Callable[[Sequence[Probs]], Probs] = blend_pred_probs,
) -> Diversity:
    """Return differences of members, pair by pair, and the blend's scores without each.

    Parameters
    ----------
    labels, members
        As for `fit_weights`.
    blend
        Function from members to probabilities (N, K).

    Raises
    ------
    InputError
        As `fit_weights`.

    Examples
    --------
    >>> one, other = [[0.9, 0.1], [0.4, 0.6]], [[0.8, 0.2], [0.7, 0.3]]
    >>> diversity([0, 1], [one, other]).disagreement
    array([[0. , 0.5],
           [0.5, 0. ]])
    """
    stacked = check_members(members)
    given = check_given(labels, *stacked.shape[1:])
    predicted, together = stacked.argmax(axis=2), blend(list(stacked))
    wrong = predicted != given
    without = [_without(stacked, m, blend) for m in range(len(stacked))]
    losses = [log_loss(given, probs) for probs in without]
    accuracies = [(probs.argmax(axis=1) == given).mean() for probs in without]
    return Diversity(
        disagreement=(predicted[:, np.newaxis] != predicted).mean(axis=2),
        error_correlation=_correlation(wrong.astype(np.float64)),
        agreement_with_blend=(predicted == together.argmax(axis=1)).mean(axis=1),
        log_loss_gain_when_left_out=log_loss(given, together) - np.array(losses),
        accuracy_gain_when_left_out=np.array(accuracies) - (together.argmax(axis=1) == given).mean(),
    )


def _without(members: Probs, left_out: int, blend: Callable[[Sequence[Probs]], Probs]) -> Probs:
    others = [probs for m, probs in enumerate(members) if m != left_out]
    return blend(others) if others else np.full(members.shape[1:], 1 / members.shape[2])


def _correlation(wrong: Probs) -> Probs:
    """Return correlations of rows (M, N); nan for a constant row."""
    centered = wrong - wrong.mean(axis=1, keepdims=True)
    size = np.sqrt((centered**2).sum(axis=1))
    scale = np.outer(size, size)
    return np.where(scale > 0, centered @ centered.T / np.where(scale > 0, scale, 1), np.nan)


MEANS: dict[str, Callable[[Probs, Weights], Probs]] = {"mean": arithmetic_mean, "log": geometric_mean}
