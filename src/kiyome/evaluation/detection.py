"""How well a score finds rows of a kind, such as flagged ones. N rows.

precision           share of the rows above the cut that are of the kind
recall              share of the kind that lies above the cut
average precision   mean precision over the rows of the kind, most suspicious first; chance gives their share
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.errors import InputError
from kiyome.estimates import Estimate, proportion

NUM_DRAWS = 1000  # of the bootstrap over rows
Draws = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Detection:
    """What a score finds, each number with its interval."""

    average_precision: Estimate
    chance: Estimate
    """The share of rows of the kind: the average precision of a score that knows nothing."""
    precision: Estimate | None
    """None where no row lies above the cut."""
    recall: Estimate
    num_above: int


def detection(is_kind: ArrayLike, scores: ArrayLike, *, cut: float = 0.5, seed: int = 0) -> Detection:
    """Precision and recall above a cut, and average precision, with 95 % intervals.

    Parameters
    ----------
    is_kind
        (N,) rows that should be found; at least one is, and one is not.
    scores
        (N,) finite; higher means more like the kind. Rows with a score of `cut` or more are found.
    seed
        Of the bootstrap over rows behind the interval of average precision.

    Raises
    ------
    InputError
        Arrays of other shapes, or of one kind only.

    Examples
    --------
    >>> found = detection([True, True, False, False], [0.9, 0.6, 0.7, 0.1])
    >>> round(found.average_precision.value, 3), found.precision.value, found.recall.value
    (0.833, 0.6666666666666666, 1.0)
    """
    kind, values = checked(is_kind, scores)
    above = values >= cut
    hits = int((above & kind).sum())
    drawn = drawn_precisions(kind, values, seed)
    return Detection(
        average_precision=_estimate(average_precision(kind, values), drawn, len(kind)),
        chance=proportion(int(kind.sum()), len(kind)),
        precision=proportion(hits, int(above.sum())) if above.any() else None,
        recall=proportion(hits, int(kind.sum())),
        num_above=int(above.sum()),
    )


def gain_in_average_precision(
    is_kind: ArrayLike, scores: ArrayLike, other_scores: ArrayLike, *, seed: int = 0
) -> Estimate:
    """Average precision of the first score less that of the other, on the same draws of rows.

    >>> gain = gain_in_average_precision([True, False] * 50, [0.9, 0.1] * 50, [0.5, 0.5] * 50)
    >>> round(gain.value, 2), gain.low > 0
    (0.5, True)
    """
    kind, values = checked(is_kind, scores)
    _, others = checked(is_kind, other_scores)
    value = average_precision(kind, values) - average_precision(kind, others)
    gains = drawn_precisions(kind, values, seed) - drawn_precisions(kind, others, seed)
    return _estimate(value, gains, len(kind))


def average_precision(is_kind: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Mean precision at the rows of the kind; rows of one score count together.

    >>> average_precision(np.array([True, False, True]), np.array([3.0, 2.0, 1.0]))
    0.8333333333333333
    """
    return float(_precisions(is_kind, scores, [np.ones(len(scores), dtype=np.int64)])[0])


def drawn_precisions(is_kind: NDArray[np.bool_], scores: NDArray[np.float64], seed: int) -> Draws:
    """Average precision in draws of rows with replacement, the same draws for any score."""
    rng = np.random.default_rng(seed)
    return _precisions(is_kind, scores, (rng.poisson(size=len(scores)) for _ in range(NUM_DRAWS)))


def _precisions(
    is_kind: NDArray[np.bool_], scores: NDArray[np.float64], counts: Iterable[NDArray[np.int64]]
) -> Draws:
    """Average precision for each way (N,) of counting rows."""
    order = np.argsort(-scores, kind="stable")
    last_of_equals = np.append(np.diff(scores[order]) != 0, True)
    results = []
    for count in counts:
        rows = count[order].cumsum()[last_of_equals]
        found = (count * is_kind)[order].cumsum()[last_of_equals]
        new = np.diff(found, prepend=0)
        results.append((new * found / rows.clip(min=1)).sum() / max(found[-1], 1))
    return np.array(results)


def checked(is_kind: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Both as arrays, once they fit each other."""
    kind, values = np.asarray(is_kind), np.asarray(scores, dtype=np.float64)
    if kind.dtype != np.bool_ or kind.ndim != 1 or kind.shape != values.shape:
        raise InputError(
            "There is one score for each row, which is of the kind or not.",
            came=f"scores of shape {values.shape} for {kind.dtype} of shape {kind.shape}",
            remedy="Pass two arrays of N.",
        )
    if not np.isfinite(values).all() or kind.all() or not kind.any():
        raise InputError(
            "Scores are finite, and rows are of both kinds.",
            came=f"{int(kind.sum())} of {len(kind)} rows of the kind",
            remedy="Without both there is nothing to tell apart.",
        )
    return kind, values


def _estimate(value: float, drawn: Draws, num_rows: int) -> Estimate:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(value=value, low=float(low), high=float(high), num_rows=num_rows)
