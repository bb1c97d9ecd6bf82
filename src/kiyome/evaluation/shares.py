"""Intervals for shares of rows, and for the ratio of two shares."""

from dataclasses import dataclass, replace
from math import exp, log, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from kiyome.errors import InputError
from kiyome.evaluation.groups import bootstrap_interval, group_numbers


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
    z = _two_sided_quantile(confidence)
    center = (value + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z * sqrt(value * (1 - value) / rows + z * z / (4 * rows * rows)) / (1 + z * z / rows)
    # At the ends one bound is the end itself; rounding must not move it.
    return 0.0 if value == 0 else center - half, 1.0 if value == 1 else center + half


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


def _two_sided_quantile(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise InputError(
            "Confidence lies between 0 and 1.", came=str(confidence), remedy="Say 0.95 for 95 %."
        )
    return NormalDist().inv_cdf((1 + confidence) / 2)
