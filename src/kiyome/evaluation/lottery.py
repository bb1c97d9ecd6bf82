"""How much of a place on a leaderboard is luck. T submissions, n test rows.

Two submissions are told apart only by rows that one of them alone gets right. On other rows of the same kind
their scores differ by a normal error of variance D / n, with D the share of such rows; what is common to all
moves every score alike, and no rank. So each score gets an error of its own, of variance D / 2n.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.errors import InputError

NUM_DRAWS = 1000  # of leaderboards; the 2.5 % point of a rank then rests on 25

Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RankRange:
    """A rank, and the ranks between which it lies in 95 % of draws; 1 is the best."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Lottery:
    """What ranks would be on other rows of the same kind."""

    rank: int
    """As the scores stand."""
    ranks: RankRange
    """The same submission's, on as many other rows."""
    ranks_a_row: float
    """Ranks that one more right row gains there, over the luck of one submission."""
    luck: float
    """Standard deviation of a difference of two scores by luck alone."""
    public_private: float | None
    """Correlation of ranks on the public and the private part, over all submissions."""
    private_of_public_top: RankRange | None
    """Private ranks of whoever is first on the public part."""


def lottery(
    scores: ArrayLike,
    num_rows: int,
    *,
    place: int,
    differing: float,
    public_share: float | None = None,
    seed: int = 0,
) -> Lottery:
    """The ranks that a submission would get on other rows, from the scores of all and how alike they err.

    Parameters
    ----------
    scores
        (T,) shares of right rows of all submissions on the leaderboard, taken as what they are worth.
    num_rows
        n, rows that decide: the private part where there is one.
    place
        Which of the scores is ours, from 0.
    differing
        D, the share of rows that only one of two submissions gets right; `differing_share` measures it.
    public_share
        The part of all test rows that the public leaderboard shows, 0.31 say; `num_rows` is then the rest.
    seed
        Of the draws.

    Raises
    ------
    InputError
        Scores outside 0..1, no such place, or shares outside 0..1.

    Notes
    -----
    Scores seen already hold the luck of their rows, so a close field is closer in truth, and the ranges here
    are rather too narrow than too wide. D is taken as one for all pairs. Not good for: few rows (n D below
    about 20), where errors are not normal.

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
    for _ in range(NUM_DRAWS):
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
    """How many ranks one more right row gains at a score, by the submissions that lie `within` this of it.

    >>> round(ranks_a_row([0.890, 0.895, 0.899, 0.901, 0.905], 1000, 0.9, 0.005), 2)
    0.4
    """
    near = int((np.abs(np.asarray(scores, dtype=np.float64) - score) <= within + 1e-12).sum())
    return near / (2 * within * num_rows)


def _rank_correlation(first: Numbers, second: Numbers) -> float:
    """Spearman's, of scores without ties."""
    one, two = (np.argsort(np.argsort(each)).astype(np.float64) for each in (first, second))
    middle = (len(one) - 1) / 2
    return float(((one - middle) @ (two - middle)) / ((one - middle) @ (one - middle)))


def _range(ranks: Sequence[int]) -> RankRange:
    low, median, high = np.quantile(ranks, [0.025, 0.5, 0.975])
    return RankRange(median=float(median), low=float(low), high=float(high))


def _checked(
    scores: ArrayLike, num_rows: int, place: int, differing: float, public_share: float | None
) -> Numbers:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2 or not ((values >= 0) & (values <= 1)).all():
        raise InputError(
            "A leaderboard has two scores or more, each a share of right rows.",
            came=f"shape {values.shape}" + (f", up to {values.max()}" if values.size else ""),
            remedy="Divide percentages by 100.",
        )
    if not -len(values) <= place < len(values):
        raise InputError("place says which of the scores is ours.", came=str(place), remedy="Count from 0.")
    shares = (differing, 0.5 if public_share is None else public_share)
    if num_rows < 1 or not all(0 < share < 1 for share in shares):
        raise InputError(
            "There is a test row or more, and shares lie between 0 and 1.",
            came=f"num_rows={num_rows}, differing={differing}, public_share={public_share}",
            remedy="Correct the number.",
        )
    return values
