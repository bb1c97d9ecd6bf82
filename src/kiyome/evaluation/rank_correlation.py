"""Whether two ways of scoring put the same things in the same order. N things."""

from math import atanh, sqrt, tanh

import numpy as np
from numpy.typing import ArrayLike

from kiyome.errors import InputError
from kiyome.estimates import Estimate

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
