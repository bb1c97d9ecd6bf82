"""Rows that belong together count together: means whose intervals draw whole groups. N rows."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.errors import InputError

NUM_DRAWS = 2000  # of the bootstrap; its 2.5 % point then rests on 50 draws


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
