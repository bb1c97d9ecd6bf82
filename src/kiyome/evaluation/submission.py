"""Which of several submissions to choose, from out-of-fold predictions and public scores. M models, N rows.

    out of fold   accuracy of each on N rows, errors shared through the rows      not of models with a leak
    public        accuracy of each on n hidden rows, a number alone               errors as out of fold, N / n
    skill         normal about a common mean, with spread sigma
    transfer      what a model is better on the test set than out of fold, normal with spread tau
    private       accuracy of each on m further hidden rows, yet unknown      errors as out of fold, N / m

Both levels are unknown: labels of train and test may be wrong to different degrees. sigma and tau are not
chosen but averaged over, weighted by how well they explain the scores and by half-Cauchy priors (Gelman 2006,
Bayesian Analysis 1, 515-534): where out of fold and public disagree more than luck allows, tau takes over,
and the public scores count more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.errors import InputError
from kiyome.estimates import Estimate, group_numbers
from kiyome.evaluation.compare_many import stacked
from kiyome.evaluation.public_part import covariance_of_means

Matrix = NDArray[np.float64]

SPREADS = 0.0001 * 2.0 ** np.arange(11)  # 0.01 to 10 points
TYPICAL_SKILL = 0.005  # of models of one contest
TYPICAL_TRANSFER = (
    0.002  # networks repeat wrong labels in shares that spread by 2 points, times 10 % of these
)
NUM_DRAWS = 10_000
LEAST_SPREAD = 1e-9
LIKELY = 0.95
TAIL = (1 - LIKELY) / 2


class Normal(NamedTuple):
    """A normal distribution of the M models' values."""

    mean: Matrix
    """(M,)"""
    covariance: Matrix
    """(M, M)"""


@dataclass(frozen=True, kw_only=True)
class PrivateScores:
    """What the scores on the private part of a test set may be, given those on the public part."""

    scores: Mapping[str, Estimate]
    """Of each model, the best on the public part first: the score to expect on the private part, and a range
    that holds it with 95 %."""
    public: Mapping[str, float]
    probability_leader_stays: float
    """That the best on the public part is the best on the private part, too."""
    num_rows: int

    def describe(self) -> tuple[str, ...]:
        """Return the ranges and the lottery in sentences."""
        ranges = (
            f"{name} {_percent(each.low)} to {_percent(each.high)} % (public {_percent(self.public[name])} %)"
            for name, each in self.scores.items()
        )
        leader, stays = next(iter(self.scores)), 100 * self.probability_leader_stays
        return (
            f"Private scores ({self.num_rows:,} rows) will probably lie at: {', '.join(ranges)}.",
            f"The best public one, {leader}, stays the best with a probability of {stays:.0f} %.",
        )


@dataclass(frozen=True, kw_only=True)
class SubmissionChoice:
    """The submission to choose, and how certain that is."""

    probability_best: Mapping[str, float]
    """Of each model, most probable first: that it has the highest expected score on the test set."""
    by_out_of_fold: str | None
    """The best out of fold of the models without a leak; None where all have one."""
    by_public: str
    private: PrivateScores | None = None
    """None where the rows of the private part are not given."""

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

    def describe(self) -> tuple[str, ...]:
        """Return the choice in sentences, with the private scores to expect."""
        best, percent = self.best, 100 * self.probability_best[self.best]
        others = ", ".join(self.candidates[1:]) or "none"
        choice = (
            f"Choose {best}: the best with a probability of {percent:.0f} %; others that may be: {others}"
            f" (best out of fold: {self.by_out_of_fold}; best public: {self.by_public})."
        )
        return (choice, *(() if self.private is None else self.private.describe()))


def choose_submission(
    rights: Mapping[str, ArrayLike],
    public_scores: Mapping[str, float],
    *,
    num_public: int,
    num_private: int | None = None,
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
    num_private
        m, rows of the private part, to say where the scores on it may lie.
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
    _check(names, public_scores, num_public, num_private, leaking)
    N, M = matrix.shape
    together = np.arange(N) if groups is None else group_numbers(groups, N)
    covariance = covariance_of_means(matrix, together)
    out_of_fold = matrix.mean(axis=0)
    public = np.array([public_scores[name] for name in names])
    sound = np.array([name not in leaking for name in names])
    S = int(sound.sum())
    seen = np.concatenate([out_of_fold[sound], public])
    picks = np.vstack([np.eye(M)[sound], np.eye(M)])  # model of each score
    level = np.repeat(np.eye(2), [S, M], axis=0)
    luck = np.zeros((S + M, S + M))
    luck[:S, :S] = covariance[np.ix_(sound, sound)]
    on_test = covariance + covariance.diagonal().mean() * _further_noise(out_of_fold, public)
    luck[S:, S:] = on_test * N / num_public
    transfer = np.diag(np.repeat([1.0, 0.0], [S, M]))
    private_luck = on_test * N / (num_private or num_public)
    skills, private, fits = list[Normal](), list[Normal](), []
    for sigma, tau in product(SPREADS, SPREADS):
        total = luck + tau**2 * transfer + sigma**2 * picks @ picks.T + level @ level.T
        together_private = sigma**2 * picks + level[:, 1:]
        solved = np.linalg.solve(total, np.column_stack([seen - seen.mean(), picks, together_private]))
        residuals, of_skills, of_private = np.split(solved, [1, M + 1], axis=1)
        residuals = residuals[:, 0]
        skill = sigma**2 * np.eye(M)
        skills.append(Normal(sigma**2 * picks.T @ residuals, skill - sigma**4 * picks.T @ of_skills))
        private.append(
            Normal(
                seen.mean() + together_private.T @ residuals,
                skill + 1 + private_luck - together_private.T @ of_private,
            )
        )
        fit = -(np.linalg.slogdet(total)[1] + (seen - seen.mean()) @ residuals) / 2
        fits.append(fit + _log_prior(sigma, TYPICAL_SKILL) + _log_prior(tau, TYPICAL_TRANSFER))
    weights = np.exp(np.array(fits) - max(fits))
    rng = np.random.default_rng(seed)
    times = rng.multinomial(NUM_DRAWS, weights / weights.sum())
    best = np.bincount(_drawn(skills, times, rng).argmax(axis=1), minlength=M)
    order = np.argsort(-best, kind="stable").tolist()
    return SubmissionChoice(
        probability_best={names[m]: float(best[m] / NUM_DRAWS) for m in order},
        by_out_of_fold=names[int(np.where(sound, out_of_fold, -1).argmax())] if S else None,
        by_public=names[int(public.argmax())],
        private=None
        if num_private is None
        else _private_scores(names, public, _drawn(private, times, rng), num_private),
    )


def _drawn(parts: Sequence[Normal], times: NDArray[np.int64], rng: np.random.Generator) -> Matrix:
    """Return draws (sum of times, M) from a mixture of normal distributions."""
    return np.concatenate(
        [
            rng.multivariate_normal(part.mean, part.covariance, size=size, method="eigh")
            for part, size in zip(parts, times.tolist(), strict=True)
        ]
    )


def _private_scores(names: Sequence[str], public: Matrix, drawn: Matrix, num_rows: int) -> PrivateScores:
    """Return what draws (D, M) of the private scores say."""
    low, middle, high = np.quantile(drawn, [TAIL, 0.5, 1 - TAIL], axis=0)
    order = np.argsort(-public, kind="stable").tolist()
    return PrivateScores(
        scores={
            names[k]: Estimate(
                value=float(middle[k]), low=float(low[k]), high=float(high[k]), num_rows=num_rows
            )
            for k in order
        },
        public={names[k]: float(public[k]) for k in order},
        probability_leader_stays=float((drawn.argmax(axis=1) == order[0]).mean()),
        num_rows=num_rows,
    )


def _percent(score: float) -> str:
    return f"{100 * score:.2f}"


def _further_noise(out_of_fold: Matrix, public: Matrix) -> float:
    """Return the share by which a score has more luck on the test set than out of fold, at least 0.

    Wrong labels of the test set are wrong for all models, so what they add is common to all.
    """
    spreads = [float((scores * (1 - scores)).mean()) for scores in (public, out_of_fold)]
    return max(spreads[0] / max(spreads[1], LEAST_SPREAD) - 1, 0)


def _log_prior(spread: float, typical: float) -> float:
    """Return the log weight of a spread on a grid of equal steps of its logarithm."""
    return float(np.log(spread / (1 + (spread / typical) ** 2)))


def _check(
    names: list[str],
    public_scores: Mapping[str, float],
    num_public: int,
    num_private: int | None,
    leaking: Collection[str],
) -> None:
    if set(public_scores) != set(names) or not set(leaking) <= set(names):
        raise InputError(
            f"There are out-of-fold rows of {', '.join(names)}, public scores of"
            f" {', '.join(public_scores) or 'none'}, leaks of {', '.join(leaking) or 'none'}.",
            expected="Expected a public score of each model, and leaks of these models.",
            remedy="Leave out models without one.",
        )
    too_few = num_public < 1 or (num_private is not None and num_private < 1)
    if too_few or not all(0 <= score <= 1 for score in public_scores.values()):
        private = "" if num_private is None else f"num_private={num_private}, "
        raise InputError(
            f"num_public={num_public}, {private}public scores from {min(public_scores.values())} to"
            f" {max(public_scores.values())}: out of range.",
            expected="Expected one row or more, and scores from 0 to 1.",
            remedy="Divide percentages by 100.",
        )
