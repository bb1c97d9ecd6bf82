"""Estimates with intervals: proportions, ratios of them, means over groups, rank correlation. N rows."""

from dataclasses import dataclass, replace
from math import atanh, exp, log, sqrt, tanh
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.errors import InputError

NUM_DRAWS = 2000  # of the bootstrap; its 2.5 % point then rests on 50 draws


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value with its interval and number of rows."""

    value: float
    low: float
    high: float
    num_rows: int

    def as_percent(self, digits: int = 1) -> str:
        """Return the estimate in words, as percentages.

        >>> proportion(40, 400).as_percent()
        '10.0 % (7.4 to 13.3 %, n = 400)'
        """
        low, high = (f"{100 * bound:.{digits}f}" for bound in (self.low, self.high))
        return f"{100 * self.value:.{digits}f} % ({low} to {high} %, n = {self.num_rows:,})"


def proportion(hits: int, rows: int, *, confidence: float = 0.95) -> Estimate:
    """Return the share of rows that are hits, with Wilson's score interval.

    Wilson (1927), Journal of the American Statistical Association 22, 209-212. The interval stays inside 0..1
    and keeps its coverage near the ends, where the plain normal interval does not.

    >>> estimate = proportion(0, 10)
    >>> round(estimate.low, 3), round(estimate.high, 3)
    (0.0, 0.278)
    """
    if not 0 <= hits <= rows or rows == 0:
        raise InputError(
            f"There are {hits} hits in {rows} rows.",
            expected="Expected one row or more, and at most as many hits as rows.",
            remedy="Count again.",
        )
    value = hits / rows
    low, high = wilson_interval(value, rows, confidence=confidence)
    return Estimate(value=value, low=low, high=high, num_rows=rows)


def wilson_interval(value: float, rows: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval of a proportion of so many independent rows (or an effective number of them).

    >>> low, high = wilson_interval(0.1, 37.5)
    >>> round(low, 3), round(high, 3)
    (0.038, 0.236)
    """
    center, half = wilson_center(value, rows, confidence=confidence)
    # at the ends one bound is the end itself, which rounding must not change
    return 0.0 if value == 0 else center - half, 1.0 if value == 1 else center + half


def wilson_center(value: float, rows: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return center and half width of `wilson_interval`."""
    z = _two_sided_quantile(confidence)
    center = (value + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z * sqrt(value * (1 - value) / rows + z * z / (4 * rows * rows)) / (1 + z * z / rows)
    return center, half


def proportion_of_rows(
    hits: ArrayLike, *, groups: ArrayLike | None = None, confidence: float = 0.95, seed: int = 0
) -> Estimate:
    """Return the proportion of hits (N,), with an interval over groups (N,) where there are any.

    Rows with the same group belong together (a plant, a patient); an empty text is a group of its own. The
    interval is then a bootstrap over groups, or Wilson's where that is wider.

    >>> proportion_of_rows(np.repeat([True, False], [40, 360])).as_percent()
    '10.0 % (7.4 to 13.3 %, n = 400)'
    """
    rows = np.asarray(hits)
    alone = proportion(int(rows.sum()), len(rows), confidence=confidence)
    if groups is None:
        return alone
    numbers = group_numbers(groups, len(rows))
    low, high = bootstrap_interval(rows.astype(float), numbers, confidence=confidence, seed=seed)
    # where all rows agree the bootstrap sees no spread at all
    return replace(alone, low=min(low, alone.low), high=max(high, alone.high))


def ratio_of_proportions(
    hits: int, rows: int, other_hits: int, other_rows: int, *, confidence: float = 0.95
) -> Estimate:
    """Return the first proportion over the second, of independent samples, with Katz's log interval.

    Katz et al. (1978), Biometrics 34, 469-474. Without a hit in both samples there is no interval.

    >>> lift = ratio_of_proportions(40, 100, 140, 1000)
    >>> round(lift.value, 2), round(lift.low, 2), round(lift.high, 2)
    (2.86, 2.15, 3.8)
    """
    if min(hits, other_hits) < 1 or hits > rows or other_hits > other_rows:
        raise InputError(
            f"The samples have {hits} hits of {rows} and {other_hits} of {other_rows}.",
            expected="Expected one hit or more in both, and no more hits than rows.",
            remedy="Report the two proportions with their own intervals instead.",
        )
    value = (hits / rows) / (other_hits / other_rows)
    half = _two_sided_quantile(confidence) * sqrt(1 / hits - 1 / rows + 1 / other_hits - 1 / other_rows)
    return Estimate(
        value=value, low=exp(log(value) - half), high=exp(log(value) + half), num_rows=rows + other_rows
    )


def difference_of_proportions(first: Estimate, second: Estimate) -> Estimate:
    """Return the first less the second, of independent samples, from their own intervals.

    Newcombe (1998), Statistics in Medicine 17, 873-890, method 10, with whatever intervals the two have.

    >>> found = difference_of_proportions(proportion(56, 70), proportion(48, 80))
    >>> round(found.value, 4), round(found.low, 4), round(found.high, 4)
    (0.2, 0.0524, 0.3339)
    """
    value = first.value - second.value
    low = value - sqrt((first.value - first.low) ** 2 + (second.high - second.value) ** 2)
    high = value + sqrt((first.high - first.value) ** 2 + (second.value - second.low) ** 2)
    return Estimate(value=value, low=low, high=high, num_rows=first.num_rows + second.num_rows)


def bootstrap_interval(
    values: NDArray[np.float64], group_of_row: NDArray[np.intp], *, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Return percentiles of the mean of `values` (N,) over draws of whole groups, numbered from 0.

    Efron (1979), Annals of Statistics 7, 1-26. Not good for fewer than about thirty groups.

    >>> low, high = bootstrap_interval(np.arange(100) % 2.0, np.arange(100))
    >>> round(low, 1), round(high, 1)
    (0.4, 0.6)
    """
    sums, sizes = np.bincount(group_of_row, values), np.bincount(group_of_row)
    # groups of equal sum and size are drawn by their count: the cost is that of the kinds of groups
    kinds, counts = np.unique(np.column_stack([sums, sizes]), axis=0, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(sums), counts / len(sums), size=NUM_DRAWS)
    means = (drawn @ kinds[:, 0]) / (drawn @ kinds[:, 1])
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def group_numbers(groups: ArrayLike, num_rows: int) -> NDArray[np.intp]:
    """Return numbers (N,) from 0, equal for rows of one group; an empty text is a group of its own.

    >>> group_numbers(["a", "", "a", ""], 4).tolist()
    [2, 0, 2, 1]
    """
    names = np.asarray(groups)
    if names.shape != (num_rows,):
        raise InputError(
            f"groups have shape {names.shape}, there are {num_rows} rows.",
            expected="Expected one group for each row.",
            remedy="Pass an array of N, with '' for rows without a group.",
        )
    numbers = np.empty(num_rows, dtype=np.intp)
    alone = names == "" if names.dtype.kind in "UO" else np.zeros(num_rows, dtype=np.bool_)
    numbers[alone] = np.arange(alone.sum())
    numbers[~alone] = np.unique(names[~alone].astype(str), return_inverse=True)[1] + alone.sum()
    return numbers


def _two_sided_quantile(confidence: float) -> float:
    check_confidence(confidence)
    return NormalDist().inv_cdf((1 + confidence) / 2)


def check_confidence(confidence: float) -> None:
    """Raise where a number is no confidence level."""
    if not 0 < confidence < 1:
        raise InputError(
            f"confidence={confidence} is no confidence level.",
            expected="Expected a number above 0 and below 1.",
            remedy="Pass 0.95 for 95 %.",
        )


FEWEST = 10
"""With fewer things, the interval of a rank correlation is too wide for any use."""


def rank_correlation(first: ArrayLike, second: ArrayLike) -> Estimate:
    """Return Spearman's rank correlation of two scores of the same N things, with its 95 % interval.

    The interval is normal on Fisher's scale with variance 1.06 / (N - 3), after Fieller, Hartley and Pearson
    (1957, Biometrika 44, 470-481), for independent things.

    >>> found = rank_correlation(range(12), [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10])
    >>> round(found.value, 3), round(found.low, 2), round(found.high, 2), found.num_rows
    (0.958, 0.85, 0.99, 12)
    """
    from scipy.stats import rankdata

    ranks = [rankdata(each) for each in (first, second)]
    if len(ranks[0]) != len(ranks[1]) or len(ranks[0]) < FEWEST:
        raise InputError(
            f"There are {len(ranks[0])} and {len(ranks[1])} scores.",
            expected=f"A rank correlation needs two scores of each of {FEWEST} things or more.",
            remedy="Score more of them.",
        )
    centered = [each - each.mean() for each in ranks]
    scale = sqrt(float(centered[0] @ centered[0]) * float(centered[1] @ centered[1]))
    value = float(np.clip(centered[0] @ centered[1] / scale, -1, 1)) if scale else 0.0
    middle, half = atanh(np.clip(value, -0.999999, 0.999999)), 1.96 * sqrt(1.06 / (len(ranks[0]) - 3))
    return Estimate(value=value, low=tanh(middle - half), high=tanh(middle + half), num_rows=len(ranks[0]))
