"""Which of several submissions to choose, from out-of-fold predictions and public scores. M models, N rows.

    out of fold   accuracy of each on N rows, errors shared through the rows      not of models with a leak
    public        accuracy of each on n hidden rows, a number alone               errors as out of fold, N / n
    skill         normal about a common mean, with spread sigma
    transfer      what a model is better on the test set than out of fold, normal with spread tau

Both levels are unknown: labels of train and test may be wrong to different degrees. sigma and tau are not
chosen but averaged over, weighted by how well they explain the scores and by half-Cauchy priors (Gelman 2006,
Bayesian Analysis 1, 515-534): where out of fold and public disagree more than luck allows, tau takes over,
and the public scores count more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.errors import InputError
from kiyome.estimates import group_numbers
from kiyome.evaluation.compare_many import stacked

Matrix = NDArray[np.float64]

SPREADS = 0.0001 * 2.0 ** np.arange(11)  # 0.01 to 10 points
TYPICAL_SKILL = 0.005  # of models of one contest
TYPICAL_TRANSFER = (
    0.002  # networks repeat wrong labels in shares that spread by 2 points, times 10 % of these
)
NUM_DRAWS = 10_000
LIKELY = 0.95


@dataclass(frozen=True, kw_only=True)
class SubmissionChoice:
    """The submission to choose, and how certain that is."""

    probability_best: Mapping[str, float]
    """Of each model, most probable first: that it has the highest expected score on the test set."""
    by_out_of_fold: str | None
    """The best out of fold of the models without a leak; None where all have one."""
    by_public: str

    @property
    def best(self) -> str:
        """The most probable one."""
        return next(iter(self.probability_best))

    @property
    def candidates(self) -> tuple[str, ...]:
        """The fewest models that together hold the best with a probability of 95 %."""
        total, names = 0.0, list[str]()
        for name, probability in self.probability_best.items():
            names.append(name)
            total += probability
            if total >= LIKELY:
                break
        return tuple(names)

    def describe(self) -> str:
        """Return the choice in a sentence."""
        best, percent = self.best, 100 * self.probability_best[self.best]
        others = ", ".join(self.candidates[1:]) or "none"
        return (
            f"Choose {best}: the best with a probability of {percent:.0f} %; others that may be: {others}"
            f" (best out of fold: {self.by_out_of_fold}; best public: {self.by_public})."
        )


def choose_submission(
    rights: Mapping[str, ArrayLike],
    public_scores: Mapping[str, float],
    *,
    num_public: int,
    leaking: Collection[str] = (),
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> SubmissionChoice:
    """Return the probability of each submission to be the best on the test set.

    Parameters
    ----------
    rights
        For each model, by name, (N,) true where it is right out of fold, on all rows and given labels.
    public_scores
        For each of these models, its accuracy on the public part, from 0 to 1.
    num_public
        n, rows of the public part.
    leaking
        Models whose out-of-fold score has a leak: only their public score counts.
    groups
        (N,) rows with the same value belong together; an empty text stands alone.
    seed
        Of the draws.

    Raises
    ------
    InputError
        Scores of other models than `rights`; fewer than two models; scores outside 0..1.

    Notes
    -----
    A model that repeats the annotators' mistakes of the train set is overrated out of fold, which tau allows
    for only as far as the public scores show it. `benchmarks/contest.py` counts how often the choice is right
    and whether the probabilities are.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rights = {"a": rng.random(20_000) < 0.90, "b": rng.random(20_000) < 0.88}
    >>> choice = choose_submission(rights, {"a": 0.902, "b": 0.885}, num_public=4000)
    >>> choice.best, choice.candidates, choice.by_public
    ('a', ('a',), 'a')
    """
    names, matrix = stacked(rights)
    _check(names, public_scores, num_public, leaking)
    N, M = matrix.shape
    together = np.arange(N) if groups is None else group_numbers(groups, N)
    covariance = _covariance(matrix, together)
    out_of_fold = matrix.mean(axis=0)
    public = np.array([public_scores[name] for name in names])
    sound = np.array([name not in leaking for name in names])
    S = int(sound.sum())
    seen = np.concatenate([out_of_fold[sound], public])
    picks = np.vstack([np.eye(M)[sound], np.eye(M)])  # model of each score
    level = np.repeat(np.eye(2), [S, M], axis=0)
    luck = np.zeros((S + M, S + M))
    luck[:S, :S] = covariance[np.ix_(sound, sound)]
    luck[S:, S:] = covariance * N / num_public
    transfer = np.diag(np.repeat([1.0, 0.0], [S, M]))
    means, covariances, fits = [], [], []
    for sigma, tau in product(SPREADS, SPREADS):
        total = luck + tau**2 * transfer + sigma**2 * picks @ picks.T + level @ level.T
        solved = np.linalg.solve(total, np.column_stack([seen - seen.mean(), picks]))
        means.append(sigma**2 * picks.T @ solved[:, 0])
        covariances.append(sigma**2 * np.eye(M) - sigma**4 * picks.T @ solved[:, 1:])
        fit = -(np.linalg.slogdet(total)[1] + (seen - seen.mean()) @ solved[:, 0]) / 2
        fits.append(fit + _log_prior(sigma, TYPICAL_SKILL) + _log_prior(tau, TYPICAL_TRANSFER))
    weights = np.exp(np.array(fits) - max(fits))
    rng, best = np.random.default_rng(seed), np.zeros(M)
    for mean, spread, times in zip(
        means, covariances, rng.multinomial(NUM_DRAWS, weights / weights.sum()), strict=True
    ):
        skills = rng.multivariate_normal(mean, spread, size=times, method="eigh")
        best += np.bincount(skills.argmax(axis=1), minlength=M)
    order = np.argsort(-best, kind="stable").tolist()
    return SubmissionChoice(
        probability_best={names[m]: float(best[m] / NUM_DRAWS) for m in order},
        by_out_of_fold=names[int(np.where(sound, out_of_fold, -1).argmax())] if S else None,
        by_public=names[int(public.argmax())],
    )


def _log_prior(spread: float, typical: float) -> float:
    """Return the log weight of a spread on a grid of equal steps of its logarithm."""
    return float(np.log(spread / (1 + (spread / typical) ** 2)))


def _covariance(matrix: NDArray[np.bool_], together: NDArray[np.intp]) -> Matrix:
    """Return the covariance (M, M) of the means over rows, of whole groups."""
    centered = matrix - matrix.mean(axis=0)
    sums = np.column_stack([np.bincount(together, column) for column in centered.T])
    covariance: Matrix = sums.T @ sums / len(matrix) ** 2
    return covariance


def _check(
    names: list[str], public_scores: Mapping[str, float], num_public: int, leaking: Collection[str]
) -> None:
    if set(public_scores) != set(names) or not set(leaking) <= set(names):
        raise InputError(
            f"There are out-of-fold rows of {', '.join(names)}, public scores of"
            f" {', '.join(public_scores) or 'none'}, leaks of {', '.join(leaking) or 'none'}.",
            expected="Expected a public score of each model, and leaks of these models.",
            remedy="Leave out models without one.",
        )
    if num_public < 1 or not all(0 <= score <= 1 for score in public_scores.values()):
        raise InputError(
            f"num_public={num_public}, public scores from {min(public_scores.values())} to"
            f" {max(public_scores.values())}: out of range.",
            expected="Expected one row or more, and scores from 0 to 1.",
            remedy="Divide percentages by 100.",
        )
