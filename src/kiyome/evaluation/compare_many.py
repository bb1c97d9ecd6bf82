"""Many experiments on the same rows: simultaneous comparisons, selection bias, ranks on a leaderboard.

N rows, M experiments.

    rights (N, M) ─► bootstrap of rows ─► errors of the means (B, M) ─┬─► selection bias of the best
                                                                      └─► simultaneous intervals

The best of many on the same rows owes part of its score to these rows: the winner's curse. Observed scores
spread more than skills do, by the same luck; so draws start from scores that are shrunk to their mean first.

`lottery` does the same for a leaderboard of T submissions, of which only scores are known. On other rows of
the same kind two scores differ by a normal error of variance D / n, with D the share of rows that only one of
two submissions gets right; what is common to all changes no rank. So each score gets an independent error of
variance D / 2n.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.errors import InputError
from kiyome.estimates import Estimate, check_confidence, group_numbers, proportion_of_rows
from kiyome.evaluation.compare import Comparison, compare

NUM_LEADERBOARDS = 1000  # of leaderboards; the 2.5 % point of a rank then rests on 25

Matrix = NDArray[np.float64]
NUM_DRAWS = 2000  # of the bootstrap; its 5 % point then rests on 100 draws


@dataclass(frozen=True, kw_only=True)
class ManyCompared:
    """Several experiments compared simultaneously."""

    scores: Mapping[str, Estimate]
    """Each alone: the share of rows that it gets right."""
    best: str
    optimism: float
    """Selection bias: the part of the best's score that is expected to come from choosing on these rows."""
    best_corrected: Estimate
    """The best's score less its selection bias; the interval repeats the choice in each draw."""
    pairs: Mapping[tuple[str, str], Comparison]
    """Each pair, the better one first, with simultaneous intervals and Holm's p values."""

    @property
    def indistinguishable_from_best(self) -> tuple[str, ...]:
        """Experiments that are not significantly different from the best."""
        with_best = {pair: each for pair, each in self.pairs.items() if self.best in pair}
        alike = [pair for pair, each in with_best.items() if each.verdict == "cannot tell"]
        return tuple(second if first == self.best else first for first, second in alike)

    def describe(self) -> tuple[str, ...]:
        """Return the result in sentences."""
        differing = sum(each.verdict != "cannot tell" for each in self.pairs.values())
        alike = ", ".join(self.indistinguishable_from_best) or "none"
        corrected = self.best_corrected.as_percent(2)
        return (
            f"Best of {len(self.scores)}: {self.best}, {self.scores[self.best].as_percent(2)}.",
            f"Selection bias: about {100 * self.optimism:.2f} points; bias-corrected {corrected}.",
            f"Not significantly different from it: {alike}.",
            f"{differing} of {len(self.pairs)} pairs differ significantly, with simultaneous intervals.",
        )


def compare_many(
    rights: Mapping[str, ArrayLike],
    *,
    groups: ArrayLike | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> ManyCompared:
    """Compare many experiments simultaneously, with the selection bias of the best.

    Parameters
    ----------
    rights
        For each experiment, by name, (N,) true where it is right, all of the same rows. At least two.
    groups
        (N,) rows with the same value belong together and are drawn together; an empty text stands alone.
    confidence
        Of all intervals of differences simultaneously.
    seed
        Of the bootstrap over rows or groups.

    Raises
    ------
    InputError
        Fewer than two experiments, or arrays of other shapes or types.

    Notes
    -----
    Intervals: the largest studentized difference over all pairs in each draw (max-t; Westfall and Young,
    1993, Resampling-Based Multiple Testing). P values: Holm (1979), Scandinavian Journal of Statistics 6,
    65-70, on McNemar's exact test. A verdict needs both. Selection bias: the mean excess of a draw's best
    over its own skill, over draws of rows about scores that were first shrunk as by James and Stein (1961).
    Experiments that were tried and discarded belong among them: they were part of the choice.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> tried = {f"run{i}": rng.random(500) < 0.9 for i in range(10)}  # all alike
    >>> found = compare_many(tried)
    >>> found.scores[found.best].value, round(found.best_corrected.value, 3)
    (0.932, 0.915)
    >>> len(found.indistinguishable_from_best)
    9
    """
    check_confidence(confidence)
    names, matrix = stacked(rights)
    together = None if groups is None else group_numbers(groups, len(matrix))
    means = matrix.mean(axis=0)
    errors = _drawn_means(matrix.astype(np.float64), together, seed) - means
    scores = {
        name: proportion_of_rows(matrix[:, m], groups=together, confidence=confidence, seed=seed)
        for m, name in enumerate(names)
    }
    best = int(means.argmax())
    luck = _luck_of_the_chosen(_drawn_together(means, errors, 0.5), errors)
    most_luck = _luck_of_the_chosen(_drawn_together(means, errors, confidence), errors)
    return ManyCompared(
        scores=scores,
        best=names[best],
        optimism=max(float(luck.mean()), 0.0),
        best_corrected=_corrected(float(means[best]), luck, most_luck, confidence, len(matrix)),
        pairs=_pairs(names, matrix, errors, confidence),
    )


def differing_share(rights: Mapping[str, ArrayLike]) -> float:
    """Return the mean share of rows that only one of two experiments gets right, over all pairs.

    >>> differing_share({"a": [True, True], "b": [True, False], "c": [False, False]})
    0.6666666666666666
    """
    _, matrix = stacked(rights)
    pairs = [(matrix[:, a] != matrix[:, b]).mean() for a, b in combinations(range(matrix.shape[1]), 2)]
    return float(np.mean(pairs))


def _drawn_together(means: Matrix, errors: Matrix, quantile: float) -> Matrix:
    """Return scores shrunk to their mean by as much of their spread as this quantile of luck explains."""
    from scipy.stats import chi2

    seen, center, free = float(means.var(ddof=1)), means.mean(), len(means) - 1
    luck = float(errors.var(axis=1, ddof=1).mean())  # of differences: what all share changes no choice
    explained = luck * float(chi2.ppf(quantile, free)) / free
    kept = max(1 - explained / seen, 0.0) if seen > 0 else 0.0
    together: Matrix = center + kept * (means - center)
    return together


def _luck_of_the_chosen(skills: Matrix, errors: Matrix) -> Matrix:
    """Return the excess (NUM_DRAWS,) of each draw's best over its skill."""
    chosen = (skills + errors).argmax(axis=1)
    luck: Matrix = errors[np.arange(len(errors)), chosen]
    return luck


def _corrected(score: float, luck: Matrix, most_luck: Matrix, confidence: float, num_rows: int) -> Estimate:
    """Return the corrected score; its lower end allows for skills as similar as the scores permit."""
    low, high = np.quantile(luck, (1 - confidence) / 2), np.quantile(most_luck, (1 + confidence) / 2)
    return Estimate(
        value=score - max(float(luck.mean()), 0.0),
        low=max(score - float(high), 0.0),
        high=min(score - float(low), 1.0),
        num_rows=num_rows,
    )


def _pairs(
    names: list[str], matrix: NDArray[np.bool_], errors: Matrix, confidence: float
) -> dict[tuple[str, str], Comparison]:
    means = matrix.mean(axis=0)
    order = np.argsort(-means, kind="stable").tolist()
    places = list(combinations(order, 2))
    first, second = (list(each) for each in zip(*places, strict=True))
    scatter = errors[:, first] - errors[:, second]
    spread = scatter.std(axis=0, ddof=1)
    largest = np.abs(scatter / np.where(spread > 0, spread, np.inf)).max(axis=1)
    half = np.quantile(largest, confidence) * spread
    alone = [compare(matrix[:, a], matrix[:, b], confidence=confidence) for a, b in places]
    adjusted = _holm([each.p_value for each in alone])
    return {
        (names[a], names[b]): replace(
            each,
            p_value=p,
            difference=replace(
                each.difference,
                low=max(each.difference.value - float(wide), -1.0),
                high=min(each.difference.value + float(wide), 1.0),
            ),
        )
        for (a, b), each, p, wide in zip(places, alone, adjusted, half, strict=True)
    }


def _holm(p_values: list[float]) -> list[float]:
    """Return Holm's adjusted p values: the k-th least times the number left, never falling.

    >>> _holm([0.03, 0.01, 0.04])
    [0.06, 0.03, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    left = len(p_values) - np.arange(len(p_values))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.maximum.accumulate(np.minimum(np.array(p_values)[order] * left, 1))
    return [float(p) for p in adjusted]


def _drawn_means(rights: Matrix, together: NDArray[np.intp] | None, seed: int) -> Matrix:
    """Return means (NUM_DRAWS, M) over draws of whole groups; equal groups are drawn by their count."""
    if together is None:
        summed, sizes = rights, np.ones(len(rights))
    else:
        sizes = np.bincount(together).astype(np.float64)
        summed = np.column_stack([np.bincount(together, column) for column in rights.T])
    kinds, counts = np.unique(np.column_stack([summed, sizes]), axis=0, return_counts=True)
    times = np.random.default_rng(seed).multinomial(len(sizes), counts / len(sizes), size=NUM_DRAWS)
    means: Matrix = (times @ kinds[:, :-1]) / (times @ kinds[:, -1:])
    return means


def stacked(rights: Mapping[str, ArrayLike]) -> tuple[list[str], NDArray[np.bool_]]:
    """Return the names, and the experiments (N, M) side by side."""
    columns = [np.asarray(each) for each in rights.values()]
    alike = {(column.shape, column.dtype) for column in columns}
    if len(columns) < 2 or len(alike) != 1 or columns[0].dtype != np.bool_ or columns[0].ndim != 1:
        raise InputError(
            "The experiments have "
            + (", ".join(f"{name}: {np.shape(each)}" for name, each in rights.items()) or "no rows")
            + ".",
            expected="Expected arrays (N,) of bool from two experiments or more on the same rows.",
            remedy="Pass pred_probs.argmax(axis=1) == labels of each, by its name.",
        )
    return list(rights), np.column_stack(columns)


@dataclass(frozen=True, kw_only=True)
class RankRange:
    """Median and 95 % range of a rank over draws; 1 is the best."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Lottery:
    """What ranks would be on other rows of the same kind."""

    rank: int
    """By the observed scores."""
    ranks: RankRange
    """The same submission's, on as many other rows."""
    ranks_a_row: float
    """Ranks that one more right row gains, over the luck of one submission."""
    luck: float
    """Standard deviation of the difference of two scores by luck alone."""
    public_private: float | None
    """Correlation of ranks on the public and the private part, over all submissions."""
    private_of_public_top: RankRange | None
    """Private ranks of the first on the public part."""


def lottery(
    scores: ArrayLike,
    num_rows: int,
    *,
    place: int,
    differing: float,
    public_share: float | None = None,
    seed: int = 0,
) -> Lottery:
    """Return the ranks that a submission would get on other rows of the same kind.

    Parameters
    ----------
    scores
        (T,) shares of right rows of all submissions on the leaderboard.
    num_rows
        n, rows of the final ranking: the private part where there is one.
    place
        Index of our score, from 0.
    differing
        D, the share of rows that only one of two submissions gets right; `differing_share` measures it.
    public_share
        The share of all test rows on the public leaderboard, such as 0.31; `num_rows` is then the rest.
    seed
        Of the draws.

    Raises
    ------
    InputError
        Scores outside 0..1, no such place, or shares outside 0..1.

    Notes
    -----
    Observed scores include the luck of their rows, so a close field is closer in truth, and the ranges here
    are too narrow rather than too wide. D is the same for all pairs. Not good for few rows (n D below about
    20), where errors are not normal.

    Examples
    --------
    >>> field = np.linspace(0.85, 0.95, 501)
    >>> found = lottery(field, 10_000, place=250, differing=0.04)
    >>> found.rank, found.ranks.low < 250 < found.ranks.high, round(found.ranks_a_row, 1), found.luck
    (251, True, 0.5, 0.002)
    """
    values = _checked(scores, num_rows, place, differing, public_share)
    rng, own_luck = np.random.default_rng(seed), sqrt(differing / 2 / num_rows)
    private, correlations, top_private = list[int](), list[float](), list[int]()
    for _ in range(NUM_LEADERBOARDS):
        drawn = values + rng.normal(scale=own_luck, size=len(values))
        private.append(1 + int((drawn > drawn[place]).sum()))
        if public_share is not None:
            shown_rows = num_rows * public_share / (1 - public_share)
            shown = values + rng.normal(scale=sqrt(differing / 2 / shown_rows), size=len(values))
            top = int(shown.argmax())
            top_private.append(1 + int((drawn > drawn[top]).sum()))
            correlations.append(_rank_correlation(shown, drawn))
    return Lottery(
        rank=1 + int((values > values[place]).sum()),
        ranks=_range(private),
        ranks_a_row=ranks_a_row(values, num_rows, float(values[place]), own_luck),
        luck=sqrt(differing / num_rows),
        public_private=float(np.mean(correlations)) if correlations else None,
        private_of_public_top=_range(top_private) if top_private else None,
    )


def ranks_a_row(scores: ArrayLike, num_rows: int, score: float, within: float) -> float:
    """Return how many ranks one more right row gains, from the density of scores `within` this of a score.

    >>> round(ranks_a_row([0.890, 0.895, 0.899, 0.901, 0.905], 1000, 0.9, 0.005), 2)
    0.4
    """
    near = int((np.abs(np.asarray(scores, dtype=np.float64) - score) <= within + 1e-12).sum())
    return near / (2 * within * num_rows)


def _rank_correlation(first: Matrix, second: Matrix) -> float:
    """Return Spearman's correlation of scores without ties."""
    one, two = (np.argsort(np.argsort(each)).astype(np.float64) for each in (first, second))
    middle = (len(one) - 1) / 2
    return float(((one - middle) @ (two - middle)) / ((one - middle) @ (one - middle)))


def _range(ranks: Sequence[int]) -> RankRange:
    low, median, high = np.quantile(ranks, [0.025, 0.5, 0.975])
    return RankRange(median=float(median), low=float(low), high=float(high))


def _checked(
    scores: ArrayLike, num_rows: int, place: int, differing: float, public_share: float | None
) -> Matrix:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2 or not ((values >= 0) & (values <= 1)).all():
        raise InputError(
            f"The scores have shape {values.shape}" + (f", up to {values.max()}." if values.size else "."),
            expected="Expected two scores or more, each in 0..1.",
            remedy="Divide percentages by 100.",
        )
    if not -len(values) <= place < len(values):
        raise InputError(f"place={place}: there are {len(values)} scores.", remedy="Count from 0.")
    shares = (differing, 0.5 if public_share is None else public_share)
    if num_rows < 1 or not all(0 < share < 1 for share in shares):
        raise InputError(
            f"num_rows={num_rows}, differing={differing}, public_share={public_share}: out of range.",
            expected="Expected one row or more, and shares above 0 and below 1.",
            remedy="Correct the number.",
        )
    return values
