"""Other models beside a first one, each only where held-out rows say that it helps.

    pool        p ~ product of p_m ** a_m with a_m >= 0: a log-linear pool, whose log loss is convex in a
    selection   one member after the other, the best first, as long as each surely lowers the log loss

N rows, K classes, M members, F folds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.artifacts.predictions import floored_log
from kiyome.ensemble.validation import (
    Labels,
    Mask,
    Probs,
    check_folds,
    check_given,
    check_members,
    held_out,
    softmax,
)
from kiyome.estimates import group_numbers

Exponents = NDArray[np.float64]
Ints = NDArray[np.intp]

SURE = 2.0
"""Standard errors by which the log loss must fall."""

LEAST_GAIN = 0.03
"""And this proportion of it, as smaller gains did not rank wrong labels better (docs/log.md)."""

LEAST_LOSS = 0.1
"""Nats: below it, gains are taken in proportion to this one, as there is nothing left to gain."""

MOST_SHARP = 50.0
"""The largest exponent: beyond it a member is one-hot."""

MOST_ROWS = 20_000
"""Rows that exponents are fitted on, and that a member is judged on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """A first member blended with those of the others that help; M members, the first included."""

    pred_probs: Probs
    """(N, K) each row by members and exponents that were chosen on the other folds."""
    weights: NDArray[np.float64]
    """(M,) share of each calibrated member, mean over rows; 0 where it was never chosen."""
    gains: NDArray[np.float64]
    """(M,) nats by which the log loss of held-out rows falls if only this member joins the first."""
    errors: NDArray[np.float64]
    """(M,) standard errors of the gains, over groups where there are any."""
    helps: Mask
    """(M,) whether that gain is large and sure enough; one that helps may still add nothing to others."""


def select_members(
    labels: ArrayLike,
    members: Sequence[ArrayLike],
    folds: ArrayLike,
    *,
    row_weights: ArrayLike | None = None,
    decided_labels: ArrayLike | None = None,
    groups: ArrayLike | None = None,
) -> Selection:
    """Blend the first member with those of the others that lower the log loss of held-out rows.

    Parameters
    ----------
    labels, members, folds
        As for `cross_fitted_blend`; the first member is always in. Rows of fold -1 are only blended, as the
        labels of all folds say; their own labels are not read.
    row_weights
        (N,) a row of weight 0 is only blended.
    decided_labels
        (N,) labels that people decided on, -1 elsewhere: then only these rows judge, by these labels.
        Exponents are fitted on given labels in any case.
    groups
        (N,) the groups of rows that depend on each other, such as patients; an empty text is a group of
        its own.

    Raises
    ------
    InputError
        As `cross_fitted_blend`.

    Notes
    -----
    Each fold's members and exponents are chosen on the other folds: greedily, as in ensemble selection
    (Caruana et al. 2004), and a member joins only if the log loss falls by more than two standard errors and
    more than 3 %. The pool is log-linear (Genest and Zidek 1986), so it calibrates members as it weighs them.

    Examples
    --------
    >>> labels, folds = np.arange(60) % 2, np.arange(60) % 3
    >>> good, blind = 0.1 + 0.8 * np.eye(2)[labels], np.full((60, 2), 0.5)
    >>> select_members(labels, [good, blind], folds).weights.tolist()
    [1.0, 0.0]
    """
    stacked = check_members(members)
    fold_of_row = check_folds(folds, stacked.shape[1])
    in_fold = fold_of_row >= 0
    given = check_given(np.where(in_fold, labels, 0), *stacked.shape[1:])
    counts = in_fold if row_weights is None else in_fold & (np.asarray(row_weights) > 0)
    decided = np.full(len(given), -1) if decided_labels is None else np.asarray(decided_labels)
    judges = counts if decided_labels is None else in_fold & (decided >= 0)
    others = range(1, len(stacked))

    blended, weights = np.empty(stacked.shape[1:]), np.zeros(len(stacked))
    losses = np.full((len(stacked), len(given)), np.nan)
    for _, held in held_out(fold_of_row):
        trial = _Trial(
            members=stacked,
            labels=given,
            answers=np.where(decided >= 0, decided, given),
            fitted_on=_at_most(counts & ~held),
            judged_on=_at_most(judges & ~held),
            groups=groups,
        )
        exponents = trial.selected()
        blended[held] = pool(stacked[:, held], exponents)
        weights += held.mean() * trial.shares(exponents)
        own = np.flatnonzero(judges & held)
        for m, joined in enumerate([trial.fit([0]), *(trial.fit([0, m]) for m in others)]):
            losses[m, own] = trial.losses(joined, own)
    rows = np.flatnonzero(judges)
    before = losses[0, rows]
    found = [_mean_and_error(before - each[rows], _of(groups, rows)) for each in losses]
    return Selection(
        pred_probs=blended,
        weights=weights,
        gains=np.array([mean for mean, _ in found]),
        errors=np.array([error for _, error in found]),
        helps=np.array([_is_sure(mean, error, before) for mean, error in found]),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Trial:
    """The rows of all folds but one, on which members and exponents for that fold are chosen."""

    members: Probs
    labels: Labels
    answers: Labels
    """(N,) labels that members are judged by."""
    fitted_on: Ints
    judged_on: Ints
    groups: ArrayLike | None

    def fit(self, chosen: Sequence[int]) -> Exponents:
        """Return the exponents (M,) of a pool of these members; 0 for the others."""
        exponents = np.zeros(len(self.members))
        members = self.members[list(chosen)][:, self.fitted_on]
        exponents[list(chosen)] = fit_exponents(self.labels[self.fitted_on], members)
        return exponents

    def losses(self, exponents: Exponents, rows: Ints) -> Probs:
        """Return the log loss (n,) of each of these rows."""
        probs = pool(self.members[:, rows], exponents)
        loss: Probs = -floored_log(probs[np.arange(len(rows)), self.answers[rows]])
        return loss

    def selected(self) -> Exponents:
        """Return the exponents of the first member and of all that surely lower the log loss."""
        chosen, exponents = [0], self.fit([0])
        while True:
            before = self.losses(exponents, self.judged_on)
            left = [m for m in range(len(self.members)) if m not in chosen]
            trials = {m: self.fit([*chosen, m]) for m in left}
            gains = {m: before - self.losses(trials[m], self.judged_on) for m in left}
            best = max(left, key=lambda m: gains[m].sum(), default=None)
            if best is None:
                return exponents
            mean, error = _mean_and_error(gains[best], _of(self.groups, self.judged_on))
            if not _is_sure(mean, error, before):
                return exponents
            chosen, exponents = [*chosen, best], trials[best]

    def shares(self, exponents: Exponents) -> Exponents:
        """Return the share (M,) of each member, calibrated by itself."""
        alone = np.array([self.fit([m])[m] for m in range(len(exponents))])
        each = np.divide(exponents, alone, out=np.zeros_like(alone), where=alone > 0)
        share: Exponents = each / max(each.sum(), np.finfo(np.float64).tiny)
        return share


def pool(members: Probs, exponents: Exponents) -> Probs:
    """Return the product of probabilities (M, n, K) to these powers, rows at one."""
    return softmax(np.tensordot(exponents, floored_log(members), axes=1))


def fit_exponents(labels: Labels, members: Probs) -> Exponents:
    """Return exponents (M,), none below 0, with the least log loss of the pool of members (M, n, K).

    Without any row, each has its share of a mean.
    """
    from scipy.optimize import minimize

    logs, rows = floored_log(members), np.arange(len(labels))
    of_label = logs[:, rows, labels]

    def loss(exponents: Exponents) -> tuple[float, Exponents]:
        pooled = softmax(np.tensordot(exponents, logs, axes=1))
        slope = (pooled * logs).sum(axis=2) - of_label
        return float(-floored_log(pooled[rows, labels]).mean()), slope.mean(axis=1)

    start = np.full(len(logs), 1 / len(logs))
    if not len(labels):
        return start
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, MOST_SHARP)] * len(logs))
    exponents: Exponents = found.x
    return exponents


def _at_most(rows: Mask) -> Ints:
    """Return the rows of a mask, evenly thinned to 20,000."""
    numbers: Ints = np.flatnonzero(rows)
    return numbers[:: max(-(-len(numbers) // MOST_ROWS), 1)]


def _mean_and_error(values: Probs, groups: NDArray[Any] | None) -> tuple[float, float]:
    """Return the mean of values (n,) and its standard error, over groups (n,) where there are any."""
    if not len(values):
        return 0.0, 0.0
    mean = float(values.mean())
    numbers = np.arange(len(values)) if groups is None else group_numbers(groups, len(values))
    residuals = np.bincount(numbers, values - mean)
    return mean, float(np.sqrt((residuals**2).sum())) / len(values)


def _is_sure(gain: float, error: float, losses: Probs) -> bool:
    """Return whether a gain over these losses is large and sure enough; no rows tell nothing."""
    least = LEAST_GAIN * max(float(losses.mean()), LEAST_LOSS) if len(losses) else np.inf
    return gain > max(SURE * error, least)


def _of(groups: ArrayLike | None, rows: Ints) -> NDArray[Any] | None:
    return None if groups is None else np.asarray(groups)[rows]
