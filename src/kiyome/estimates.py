"""Estimates with their intervals: shares of rows, ratios of two shares, means over groups of rows. N rows."""

from dataclasses import dataclass, replace
from math import atanh, exp, log, sqrt, tanh
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.errors import InputError

NUM_DRAWS = 2000  # of the bootstrap; its 2.5 % point then rests on 50 draws


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value that never travels without its interval and what it was counted on."""

    value: float
    low: float
    high: float
    num_rows: int

    def as_percent(self, digits: int = 1) -> str:
        """Words for people.

        >>> share(40, 400).as_percent()
        '10.0 % (7.4 to 13.3 %, n = 400)'
        """
        low, high = (f"{100 * bound:.{digits}f}" for bound in (self.low, self.high))
        return f"{100 * self.value:.{digits}f} % ({low} to {high} %, n = {self.num_rows:,})"


def share(hits: int, rows: int, *, confidence: float = 0.95) -> Estimate:
    """Share of rows that are hits, with Wilson's score interval.

    Parameters
    ----------
    hits, rows
        Counts, ``0 <= hits <= rows`` and at least one row.
    confidence
        Chance that an interval made this way covers the truth.

    Raises
    ------
    InputError
        If the counts are impossible.

    Notes
    -----
    Wilson (1927), Journal of the American Statistical Association 22, 209-212. It stays inside 0..1
    and covers near the ends, where the plain normal interval does not.

    Examples
    --------
    >>> estimate = share(0, 10)
    >>> round(estimate.low, 3), round(estimate.high, 3)
    (0.0, 0.278)
    """
    if not 0 <= hits <= rows or rows == 0:
        raise InputError(
            "Hits are between 0 and the number of rows, which is at least 1.",
            came=f"{hits} hits in {rows} rows",
            remedy="Count again.",
        )
    value = hits / rows
    low, high = wilson_interval(value, rows, confidence=confidence)
    return Estimate(value=value, low=low, high=high, num_rows=rows)


def wilson_interval(value: float, rows: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share seen on so many independent rows, or on what is worth as many.

    >>> low, high = wilson_interval(0.1, 37.5)
    >>> round(low, 3), round(high, 3)
    (0.038, 0.236)
    """
    center, half = wilson_center(value, rows, confidence=confidence)
    # At the ends one bound is the end itself; rounding must not move it.
    return 0.0 if value == 0 else center - half, 1.0 if value == 1 else center + half


def wilson_center(value: float, rows: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """Center and half width of `wilson_interval`, as they are computed."""
    z = _two_sided_quantile(confidence)
    center = (value + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z * sqrt(value * (1 - value) / rows + z * z / (4 * rows * rows)) / (1 + z * z / rows)
    return center, half


def share_of_rows(
    hits: ArrayLike, *, groups: ArrayLike | None = None, confidence: float = 0.95, seed: int = 0
) -> Estimate:
    """Share of rows that are hits; rows of a group count together.

    Parameters
    ----------
    hits
        (N,) true or false, at least one row.
    groups
        (N,) rows with the same value belong together (a plant, a patient), and an empty text stands alone;
        the interval then comes from a bootstrap over groups, or from Wilson's where that is the wider one.
    confidence, seed
        Of the interval, and of the bootstrap.

    Examples
    --------
    >>> share_of_rows(np.repeat([True, False], [40, 360])).as_percent()
    '10.0 % (7.4 to 13.3 %, n = 400)'
    """
    rows = np.asarray(hits)
    alone = share(int(rows.sum()), len(rows), confidence=confidence)
    if groups is None:
        return alone
    numbers = group_numbers(groups, len(rows))
    low, high = bootstrap_interval(rows.astype(float), numbers, confidence=confidence, seed=seed)
    # where all rows agree the bootstrap sees no spread at all
    return replace(alone, low=min(low, alone.low), high=max(high, alone.high))


def ratio_of_shares(
    hits: int, rows: int, other_hits: int, other_rows: int, *, confidence: float = 0.95
) -> Estimate:
    """How many times larger the first share is than the second, with Katz's log interval.

    Parameters
    ----------
    hits, rows, other_hits, other_rows
        Two independent samples; each holds at least one hit, as the ratio has no interval otherwise.

    Raises
    ------
    InputError
        If a sample has no hit.

    Notes
    -----
    Katz et al. (1978), Biometrics 34, 469-474.

    Examples
    --------
    >>> lift = ratio_of_shares(40, 100, 140, 1000)
    >>> round(lift.value, 2), round(lift.low, 2), round(lift.high, 2)
    (2.86, 2.15, 3.8)
    """
    if min(hits, other_hits) < 1 or hits > rows or other_hits > other_rows:
        raise InputError(
            "Both samples hold at least one hit and no more hits than rows.",
            came=f"{hits} of {rows} against {other_hits} of {other_rows}",
            remedy="Report the two shares with their own intervals instead.",
        )
    value = (hits / rows) / (other_hits / other_rows)
    half = _two_sided_quantile(confidence) * sqrt(1 / hits - 1 / rows + 1 / other_hits - 1 / other_rows)
    return Estimate(
        value=value, low=exp(log(value) - half), high=exp(log(value) + half), num_rows=rows + other_rows
    )


def bootstrap_interval(
    values: NDArray[np.float64], group_of_row: NDArray[np.intp], *, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Percentiles of the mean of `values` (N,) over draws of whole groups, numbered from 0.

    Efron (1979), Annals of Statistics 7, 1-26. Not good for fewer than some thirty groups.

    >>> low, high = bootstrap_interval(np.arange(100) % 2.0, np.arange(100))
    >>> round(low, 1), round(high, 1)
    (0.4, 0.6)
    """
    sums, sizes = np.bincount(group_of_row, values), np.bincount(group_of_row)
    # groups alike in sum and size are drawn by their count: the cost is that of the kinds of groups
    kinds, counts = np.unique(np.column_stack([sums, sizes]), axis=0, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(sums), counts / len(sums), size=NUM_DRAWS)
    means = (drawn @ kinds[:, 0]) / (drawn @ kinds[:, 1])
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def group_numbers(groups: ArrayLike, num_rows: int) -> NDArray[np.intp]:
    """Numbers (N,) from 0, equal for rows of one group; rows with an empty text are groups of their own.

    >>> group_numbers(["a", "", "a", ""], 4).tolist()
    [2, 0, 2, 1]
    """
    names = np.asarray(groups)
    if names.shape != (num_rows,):
        raise InputError(
            "There is one group for each row.",
            came=f"shape {names.shape} for {num_rows} rows",
            remedy="Pass an array of N, with '' for rows that stand alone.",
        )
    numbers = np.empty(num_rows, dtype=np.intp)
    alone = names == "" if names.dtype.kind in "UO" else np.zeros(num_rows, dtype=np.bool_)
    numbers[alone] = np.arange(alone.sum())
    numbers[~alone] = np.unique(names[~alone].astype(str), return_inverse=True)[1] + alone.sum()
    return numbers


def _two_sided_quantile(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise InputError(
            "Confidence lies between 0 and 1.", came=str(confidence), remedy="Say 0.95 for 95 %."
        )
    return NormalDist().inv_cdf((1 + confidence) / 2)


FEWEST = 10
"""Below so many, the interval of a rank correlation tells next to nothing."""


def rank_correlation(first: ArrayLike, second: ArrayLike) -> Estimate:
    """Return Spearman's rank correlation of two scores of the same N things, with its 95 % interval.

    Raises
    ------
    InputError
        For fewer than `FEWEST` things.

    Notes
    -----
    The interval is normal on Fisher's scale with variance 1.06 / (N - 3), after Fieller, Hartley and Pearson
    (1957, Biometrika 44, 470-481). It takes the N things as drawn independently.

    Examples
    --------
    >>> found = rank_correlation(range(12), [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10])
    >>> round(found.value, 3), round(found.low, 2), round(found.high, 2), found.num_rows
    (0.958, 0.85, 0.99, 12)
    """
    from scipy.stats import rankdata

    ranks = [rankdata(each) for each in (first, second)]
    if len(ranks[0]) != len(ranks[1]) or len(ranks[0]) < FEWEST:
        raise InputError(
            f"A rank correlation is of {FEWEST} or more things with two scores each.",
            came=f"{len(ranks[0])} and {len(ranks[1])} scores",
            remedy="Score more of them.",
        )
    centered = [each - each.mean() for each in ranks]
    scale = sqrt(float(centered[0] @ centered[0]) * float(centered[1] @ centered[1]))
    value = float(np.clip(centered[0] @ centered[1] / scale, -1, 1)) if scale else 0.0
    middle, half = atanh(np.clip(value, -0.999999, 0.999999)), 1.96 * sqrt(1.06 / (len(ranks[0]) - 3))
    return Estimate(value=value, low=tanh(middle - half), high=tanh(middle + half), num_rows=len(ranks[0]))
