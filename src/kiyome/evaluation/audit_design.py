"""The design of an audit: a random sample of rows for people to check. N rows, H strata, n rows checked.

    labels, pred_probs ─► probability that a row is right ─► strata ─► rows a stratum ─► draw ─► blind order

Guesses only decide which rows are checked, and so how wide the interval is: with guesses that are all wrong
the estimate is still unbiased, because every row has a known probability of being drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.checks import check_arrays, check_pred_probs, check_rows
from kiyome.errors import InputError
from kiyome.noise import label_issue_probability

Numbers = NDArray[np.float64]
Counts = NDArray[np.int64]

NUM_STRATA = 8
LEAST_ROWS = 2  # drawn from each stratum: one alone shows no spread
ROWS_A_STRATUM = 20  # a side with fewer rows than this times its strata gets fewer strata
SHRINKAGE = 0.5  # of the log odds: people and models err alike, so guesses are twice too sure
LEAST_SPREAD = 0.1  # standard deviation of a row; as if no guess were surer than 99 in 100


@dataclass(frozen=True, kw_only=True, eq=False)
class Strata:
    """All rows in strata of about equal probability that the model is right."""

    stratum_of_row: NDArray[np.int8]
    """(N,) from 0: first where model and label disagree, then where they agree, surer ones later."""
    num_disagreeing: int
    """Number of strata where model and label disagree."""
    guesses: Numbers
    """(H,) mean probability that the model is right, guessed before the audit."""
    spreads: Numbers
    """(H,) guessed standard deviation of a row."""

    @cached_property
    def sizes(self) -> Counts:
        """(H,) rows."""
        return np.bincount(self.stratum_of_row, minlength=len(self.guesses)).astype(np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditDesign:
    """The rows to check, and each row's probability of being drawn."""

    rows: NDArray[np.intp]
    """(n,) in the blind order: random, so that neither position nor neighbors reveal anything."""
    strata: Strata
    seed: int

    @cached_property
    def rows_drawn(self) -> Counts:
        """(H,) rows drawn from each stratum."""
        drawn = self.strata.stratum_of_row[self.rows]
        return np.bincount(drawn, minlength=len(self.strata.guesses)).astype(np.int64)

    @property
    def inclusion_probabilities(self) -> Numbers:
        """(N,) probability of each row to be drawn."""
        probabilities: Numbers = (self.rows_drawn / self.strata.sizes)[self.strata.stratum_of_row]
        return probabilities

    @property
    def weights(self) -> Numbers:
        """(n,) number of rows that each drawn one represents; their sum is N."""
        weights: Numbers = 1 / self.inclusion_probabilities[self.rows]
        return weights

    def expected_half_width(self, *, confidence: float = 0.95) -> float:
        """Return the expected half width of the interval of `accuracy_on_true`, rather too wide."""
        return _half_width(self.strata, self.rows_drawn, confidence)


def draw_audit(
    labels: ArrayLike | None,
    pred_probs: ArrayLike,
    n: int,
    *,
    num_strata: int = NUM_STRATA,
    seed: int = 0,
) -> AuditDesign:
    """Draw a random sample of rows for people to check, with the smallest expected interval.

    Parameters
    ----------
    labels
        (N,) given labels, possibly wrong; None where the rows have none.
    pred_probs
        (N, K) out-of-fold probabilities of the model to evaluate.
    n
        Rows to check, at least two a stratum; see `rows_to_audit`.
    num_strata
        At most this many, at least 2.
    seed
        The same arrays and seed give the same sample.

    Raises
    ------
    InputError
        Arrays that do not fit, or an `n` that is too small or above N.

    Notes
    -----
    Rows are stratified by whether the likeliest class is the given label, then by the probability that the
    model is right: from `label_issue_probability` and pred_probs, or without labels the largest probability;
    log odds halved, no row surer than 99 in 100. Strata are cut so that each needs about as many rows, which
    are allocated by Neyman's rule (1934, JRSS 97, 558-625) in Wright's exact form (2012, The American
    Statistician 66, 217-224). Groups are not drawn together: the answer is about this table.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> pred_probs = rng.dirichlet([0.1, 0.1, 0.1], 600)
    >>> design = draw_audit(pred_probs.argmax(axis=1), pred_probs, 60)
    >>> len(np.unique(design.rows)), round(design.weights.sum())
    (60, 600)
    """
    return draw_from(strata_of(labels, pred_probs, num_strata=num_strata), n, seed=seed)


def draw_from(strata: Strata, n: int, *, seed: int = 0) -> AuditDesign:
    """Draw an audit from given strata.

    >>> strata = Strata(stratum_of_row=np.repeat([0, 1], [10, 90]).astype(np.int8), num_disagreeing=1,
    ...                 guesses=np.array([0.5, 0.9]), spreads=np.array([0.5, 0.3]))
    >>> draw_from(strata, 20).rows_drawn
    array([ 3, 17])
    """
    least = int(np.minimum(strata.sizes, LEAST_ROWS).sum())
    if not least <= n <= len(strata.stratum_of_row):
        raise InputError(
            f"n={n} rows cannot be drawn.",
            expected=f"Expected {least} to {len(strata.stratum_of_row)}, {LEAST_ROWS} or more a stratum.",
            remedy="Choose another number, or fewer strata.",
        )
    rng = np.random.default_rng(seed)
    drawn = [
        rng.choice(np.flatnonzero(strata.stratum_of_row == stratum), size=rows, replace=False)
        for stratum, rows in enumerate(rows_by_stratum(strata, n))
    ]
    return AuditDesign(rows=rng.permutation(np.concatenate(drawn)), strata=strata, seed=seed)


def rows_to_audit(
    labels: ArrayLike | None,
    pred_probs: ArrayLike,
    half_width: float,
    *,
    confidence: float = 0.95,
    num_strata: int = NUM_STRATA,
) -> int:
    """Return how many rows people must check to know `accuracy_on_true` to plus or minus `half_width`.

    Parameters
    ----------
    labels, pred_probs, num_strata
        As for `draw_audit`.
    half_width
        As a share: 0.01 is one point.
    confidence
        Of the interval.

    Raises
    ------
    InputError
        Arrays that do not fit, or a half width outside 0..1.

    Notes
    -----
    Computed from guesses, before anyone has looked. On human labels of CIFAR-10 the intervals came out
    narrower than this (benchmarks/results/audit_coverage.txt).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> pred_probs = rng.dirichlet([0.1, 0.1, 0.1], 6000)
    >>> labels = pred_probs.argmax(axis=1)
    >>> rows_to_audit(labels, pred_probs, 0.05) < rows_to_audit(labels, pred_probs, 0.02) < 6000
    True
    """
    if not 0 < half_width < 1 or not 0 < confidence < 1:
        raise InputError(
            f"half_width={half_width}, confidence={confidence}: one is out of its range.",
            expected="Expected numbers above 0 and below 1.",
            remedy="Pass 0.01 for one point, 0.95 for 95 %.",
        )
    return rows_for(strata_of(labels, pred_probs, num_strata=num_strata), half_width, confidence=confidence)


def rows_for(strata: Strata, half_width: float, *, confidence: float = 0.95) -> int:
    """Return the rows to audit from given strata; all rows where no smaller number is enough."""
    low, high = int(np.minimum(strata.sizes, LEAST_ROWS).sum()), len(strata.stratum_of_row)
    while low < high:
        middle = (low + high) // 2
        enough = _half_width(strata, rows_by_stratum(strata, middle), confidence) <= half_width
        low, high = (low, middle) if enough else (middle + 1, high)
    return low


def strata_of(labels: ArrayLike | None, pred_probs: ArrayLike, *, num_strata: int = NUM_STRATA) -> Strata:
    """Return all rows in strata by agreement, then by the probability that the model is right.

    Rows without labels (None) count as those where model and label agree.

    >>> pred_probs = np.tile([[0.9, 0.1], [0.6, 0.4]], (50, 1))
    >>> strata_of(np.arange(100) % 2, pred_probs, num_strata=4).sizes.tolist()
    [25, 25, 50]
    """
    given, probs = check_arrays(labels_or_predicted(labels, pred_probs), pred_probs)
    if not 2 <= num_strata <= np.iinfo(np.int8).max:
        raise InputError(f"num_strata={num_strata}: expected 2 to 127.", remedy="Pass 8.")
    guesses = shrink_log_odds(probability_right(None if labels is None else given, probs))
    spreads = np.maximum(np.sqrt(guesses * (1 - guesses)), LEAST_SPREAD)
    agrees = np.asarray(probs).argmax(axis=1) == given
    share = spreads[agrees].sum() / spreads.sum()
    for_agreeing = int(np.clip(round(num_strata * share), 1, num_strata - 1))
    sides = [(np.flatnonzero(~agrees), num_strata - for_agreeing), (np.flatnonzero(agrees), for_agreeing)]
    stratum_of_row, counts = np.empty(len(given), dtype=np.int8), [0]
    for rows, wanted in sides:
        if len(rows):
            ordered = rows[np.argsort(guesses[rows], kind="stable")]
            parts = _even_parts(spreads[ordered], min(wanted, max(1, len(rows) // ROWS_A_STRATUM)))
            stratum_of_row[ordered] = counts[-1] + parts
            counts.append(counts[-1] + int(parts[-1]) + 1)
    sizes = np.bincount(stratum_of_row)
    return Strata(
        stratum_of_row=stratum_of_row,
        num_disagreeing=0 if agrees.all() else counts[1],
        guesses=np.bincount(stratum_of_row, guesses) / sizes,
        spreads=np.bincount(stratum_of_row, spreads) / sizes,
    )


def labels_or_predicted(labels: ArrayLike | None, pred_probs: ArrayLike) -> ArrayLike:
    """Return the labels (N,), or the likeliest classes where there are none."""
    return check_pred_probs(pred_probs).argmax(axis=1) if labels is None else labels


def probability_right(labels: NDArray[np.integer] | None, pred_probs: NDArray[np.floating]) -> Numbers:
    """Return the probability (N,) that the likeliest class is the true one."""
    largest: Numbers = pred_probs.max(axis=1).astype(np.float64)
    if labels is None:
        check_rows(pred_probs)
        return largest
    # where model and label disagree: the label is wrong, and no third class is true
    wrong_label = label_issue_probability(labels, pred_probs)
    of_given = pred_probs[np.arange(len(labels)), labels].astype(np.float64)
    right: Numbers = np.where(
        pred_probs.argmax(axis=1) == labels,
        1 - wrong_label,
        wrong_label * np.clip(largest / np.maximum(1 - of_given, 1e-12), 0, 1),
    )
    return right


def shrink_log_odds(probabilities: Numbers) -> Numbers:
    """Return probabilities with half of their log odds.

    >>> shrink_log_odds(np.array([0.5, 0.99, 0.0])).round(3).tolist()
    [0.5, 0.909, 0.0]
    """
    p = np.clip(probabilities, 0, 1)
    hit, miss = p**SHRINKAGE, (1 - p) ** SHRINKAGE
    shrunk: Numbers = hit / (hit + miss)
    return shrunk


def rows_by_stratum(strata: Strata, n: int) -> Counts:
    """Return how many of n rows (H,) to draw from each stratum for the least variance, at least two.

    >>> strata = Strata(stratum_of_row=np.repeat([0, 1], [10, 90]).astype(np.int8), num_disagreeing=1,
    ...                 guesses=np.array([0.5, 0.9]), spreads=np.array([0.5, 0.3]))
    >>> rows_by_stratum(strata, 20)
    array([ 3, 17])
    """
    rows = np.minimum(strata.sizes, LEAST_ROWS)
    left = n - int(rows.sum())
    if left <= 0:
        return rows
    # each further row goes where it lowers the variance most
    further = [np.arange(k, min(k + left, size)) for k, size in zip(rows, strata.sizes, strict=True)]
    gains = [
        size * spread / np.sqrt(k * (k + 1.0))
        for k, size, spread in zip(further, strata.sizes, strata.spreads, strict=True)
    ]
    stratum = np.repeat(np.arange(len(rows)), [len(k) for k in further])
    best = np.argsort(-np.concatenate(gains), kind="stable")[:left]
    return rows + np.bincount(stratum[best], minlength=len(rows))


def _half_width(strata: Strata, rows: Counts, confidence: float) -> float:
    weights, unseen = strata.sizes / strata.sizes.sum(), 1 - rows / strata.sizes
    variance = float((weights**2 * strata.spreads**2 * unseen / rows).sum())
    return float(NormalDist().inv_cdf((1 + confidence) / 2) * np.sqrt(variance))


def _even_parts(spreads: Numbers, num_parts: int) -> NDArray[np.int8]:
    """Return numbers (m,) of consecutive parts whose spreads have about equal sums."""
    sums = spreads.cumsum()
    positions = (sums - spreads / 2) / sums[-1] * num_parts
    parts: NDArray[np.int8] = np.minimum(positions, num_parts - 1).astype(np.int8)
    return parts
