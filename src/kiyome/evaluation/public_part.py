"""What scores on a public part of the test rows say about the rest. N rows, n of them public, M models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.errors import InputError
from kiyome.estimates import group_numbers
from kiyome.evaluation.compare_many import stacked

Matrix = NDArray[np.float64]

NUM_PARTS = 10_000
REACH = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, kw_only=True)
class PublicPart:
    """The lottery of a leaderboard whose rows are known: which of them are public is luck."""

    within: Mapping[str, float]
    """Of each model, the best on all rows first: how far the private score lies from the public one at most,
    with 95 %."""
    probability_leader_stays: float
    """That the best on the public part is the best on the private part, too."""
    num_public: int
    num_private: int

    def describe(self) -> str:
        """Return the lottery in a sentence.

        >>> PublicPart(within={"a": 0.011, "b": 0.012}, probability_leader_stays=0.6, num_public=2000,
        ...            num_private=8000).describe()
        'Were 2,000 of these 10,000 rows public, private scores would lie within 1.20 points of public ones \
(95 %), and the best public one would stay the best with a probability of 60 %.'
        """
        rows, within = self.num_public + self.num_private, 100 * max(self.within.values())
        return (
            f"Were {self.num_public:,} of these {rows:,} rows public, private scores would lie within"
            f" {within:.2f} points of public ones (95 %), and the best public one would stay the best with a"
            f" probability of {100 * self.probability_leader_stays:.0f} %."
        )


def public_part(
    rights: Mapping[str, ArrayLike],
    num_public: int,
    *,
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> PublicPart:
    """Return how far scores on a random public part of test rows lie from those on the rest.

    Parameters
    ----------
    rights
        For each model, by name, (N,) true where it is right on a row of the test set.
    num_public
        n, rows of the public part.
    groups
        (N,) rows with the same value are on one side; an empty text stands alone.
    seed
        Of the draws.

    Raises
    ------
    InputError
        Fewer than two models, or no row on one of the sides.

    Notes
    -----
    The difference of two parts that make up all rows is normal, with the covariance of the rows times N / n
    plus N / m. Wrong labels of the test set are in it as they are in the scores.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rights = {"a": rng.random(10_000) < 0.90, "b": rng.random(10_000) < 0.89}
    >>> found = public_part(rights, 3_000)
    >>> round(found.within["a"], 3), 0.9 < found.probability_leader_stays < 1
    (0.013, True)
    """
    names, matrix = stacked(rights)
    N = len(matrix)
    num_private = N - num_public
    if not 0 < num_public < N:
        raise InputError(
            f"num_public={num_public} of {N:,} rows.",
            expected="Expected one row or more on either side.",
            remedy=f"Pass 1 to {N - 1:,}.",
        )
    together = np.arange(N) if groups is None else group_numbers(groups, N)
    scores, covariance = matrix.mean(axis=0), covariance_of_means(matrix, together)
    of_difference = covariance * (N / num_public + N / num_private)
    drawn = np.random.default_rng(seed).multivariate_normal(
        np.zeros(len(names)), of_difference, size=NUM_PARTS, method="eigh"
    )
    public, private = scores + drawn * num_private / N, scores - drawn * num_public / N
    within = REACH * np.sqrt(of_difference.diagonal())
    return PublicPart(
        within={names[k]: float(within[k]) for k in np.argsort(-scores, kind="stable").tolist()},
        probability_leader_stays=float((public.argmax(axis=1) == private.argmax(axis=1)).mean()),
        num_public=num_public,
        num_private=num_private,
    )


def covariance_of_means(matrix: NDArray[np.bool_], together: NDArray[np.intp]) -> Matrix:
    """Return the covariance (M, M) of the means over rows, of whole groups."""
    centered = matrix - matrix.mean(axis=0)
    sums = np.column_stack([np.bincount(together, column) for column in centered.T])
    covariance: Matrix = sums.T @ sums / len(matrix) ** 2
    return covariance
