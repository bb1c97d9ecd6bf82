"""The difference of two models' accuracy on true labels, from rows that people checked. N rows, n checked.

    d  of a row: 1 if the first alone is right, -1 if the second alone is, else 0
    f  the expected d before the audit; 0, as d, where both models agree

    difference = mean of f over all N  +  weighted mean of d - f over the checked rows

Only the second part is random. Its mean is that of d - f over all rows, so the sum is unbiased whatever the
guesses are; good guesses make its variance small.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.checks import check_scored
from kiyome.errors import InputError
from kiyome.estimates import Estimate, check_confidence
from kiyome.evaluation.audit import UNSURE, CheckedSample, check_answers, difference_estimate
from kiyome.evaluation.audit_design import (
    AuditDesign,
    labels_or_predicted,
    probability_right,
    shrink_log_odds,
)
from kiyome.evaluation.compare import POWER, Verdict, about

Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class AuditedDifference:
    """The first model against the second on all rows, estimated from the checked ones."""

    difference: Estimate
    """True accuracy of the first less that of the second, over all rows."""
    bounds: tuple[float, float]
    """The lower end if the second were right on every unsure row, the upper end if the first were."""
    only_first: int
    """Checked rows that the first alone gets right."""
    only_second: int
    """Checked rows that the second alone gets right."""
    num_rows: int
    """N."""
    num_differing: int
    """Of all rows, those on which the two models disagree."""
    rows_needed: int | None
    """Rows to check to detect a difference of this size four times in five; None where there is none."""
    confidence: float

    @property
    def verdict(self) -> Verdict:
        """The first model is better or worse where the interval does not contain 0."""
        if self.difference.low > 0:
            return "better"
        return "worse" if self.difference.high < 0 else "cannot tell"

    def describe(self) -> str:
        """Return the verdict in words, in percentage points.

        >>> found = AuditedDifference(
        ...     difference=Estimate(value=0.012, low=-0.003, high=0.027, num_rows=300),
        ...     bounds=(-0.003, 0.027), only_first=9, only_second=4, num_rows=50_000, num_differing=3_600,
        ...     rows_needed=614, confidence=0.95)
        >>> found.describe()
        'cannot tell: +1.20 points (-0.30 to +2.70, 300 rows checked); about 610 checked rows are needed'
        """
        value, low, high = (
            100 * x for x in (self.difference.value, self.difference.low, self.difference.high)
        )
        checked = self.difference.num_rows
        seen = f"{self.verdict}: {value:+.2f} points ({low:+.2f} to {high:+.2f}, {checked:,} rows checked)"
        if self.verdict != "cannot tell" or self.rows_needed is None:
            return seen
        return f"{seen}; {about(self.rows_needed)} checked rows are needed"


def audited_difference(
    design: AuditDesign,
    true_labels: ArrayLike,
    labels: ArrayLike | None,
    first_probs: ArrayLike,
    second_probs: ArrayLike,
    *,
    confidence: float = 0.95,
) -> AuditedDifference:
    """Return how much better the first model is than the second in truth, from a checked sample.

    Parameters
    ----------
    design
        From `draw_audit`, made for the first model, the second, or another.
    true_labels
        (n,) as for `audited_accuracy`.
    labels
        (N,) given labels; None where the rows have none.
    first_probs, second_probs
        (N, K) out-of-fold probabilities. A model that was trained on the answers for the rows it predicts
        here would score too high.
    confidence
        Of the interval.

    Raises
    ------
    InputError
        Arrays that do not fit the design, or nothing but unsure rows.

    Notes
    -----
    The stratified difference estimator (Sarndal, Swensson and Wretman, 1992, Model Assisted Survey Sampling,
    section 6.3), with guesses that do not depend on any answer: those of the draw. Its variance takes squares
    about zero, and one row more on which the models differ and the guess is wrong, as a sample with few of
    these rows estimates them badly. On human labels of CIFAR-10 its standard error was half that of a plain
    paired sample, a third below that of the weighted mean of d alone
    (benchmarks/results/audit_difference.txt).

    Examples
    --------
    >>> from kiyome.evaluation.audit_design import draw_audit
    >>> from kiyome.noise import simulate_pred_probs
    >>> rng, truth = np.random.default_rng(0), np.arange(6000) % 3
    >>> good, bad = (simulate_pred_probs(truth, 3, rng, accuracy=a) for a in (0.9, 0.8))
    >>> design = draw_audit(truth, good, 300)
    >>> audited_difference(design, truth[design.rows], truth, good, bad).verdict
    'better'
    """
    check_confidence(confidence)
    given, first = check_scored(labels_or_predicted(labels, first_probs), first_probs)
    _, second = check_scored(labels_or_predicted(labels, second_probs), second_probs)
    _check(design, first, second)
    answers = check_answers(true_labels, design, first.shape[1])
    one, two = first.argmax(axis=1), second.argmax(axis=1)
    guess, differ = expected_difference(None if labels is None else given, first, second)
    rows, is_sure = design.rows[: len(answers)], answers != UNSURE
    seen = (one[rows] == answers).astype(float) - (two[rows] == answers)
    value, error = difference_estimate(CheckedSample.of(design, rows[is_sure]), seen[is_sure], guess, differ)
    reach, most = NormalDist().inv_cdf((1 + confidence) / 2), float(differ.mean())
    every, open_ = CheckedSample.of(design, rows), ~is_sure & differ[rows]
    low, high = (difference_estimate(every, np.where(open_, side, seen), guess, differ) for side in (-1, 1))
    return AuditedDifference(
        difference=Estimate(
            value=value,
            low=min(max(value - reach * error, -most), value),  # no difference is larger
            high=max(min(value + reach * error, most), value),
            num_rows=int(is_sure.sum()),
        ),
        bounds=(max(low[0] - reach * low[1], -most), min(high[0] + reach * high[1], most)),
        only_first=int((seen > 0).sum()),
        only_second=int((seen < 0).sum()),
        num_rows=len(given),
        num_differing=int(differ.sum()),
        rows_needed=_rows_needed(value, error, int(is_sure.sum()), len(given), confidence),
        confidence=confidence,
    )


def _check(design: AuditDesign, first: Numbers, second: Numbers) -> None:
    num_rows = len(design.strata.stratum_of_row)
    if first.shape != second.shape or len(first) != num_rows:
        raise InputError(
            f"The predictions have shapes {first.shape} and {second.shape}.",
            expected=f"Expected the {num_rows:,} rows of the design and the same classes in both.",
            remedy="Pass predictions of the table that the sample was drawn from.",
        )


def expected_difference(
    labels: NDArray[np.intp] | None, first: NDArray[np.floating], second: NDArray[np.floating]
) -> tuple[Numbers, NDArray[np.bool_]]:
    """Return the expected d (N,) by the guesses of the draw, and the rows (N,) on which the models differ."""
    one, two = (shrink_log_odds(probability_right(labels, probs)) for probs in (first, second))
    both = np.maximum(one + two, 1)  # of two different predictions one at most is right
    differ = first.argmax(axis=1) != second.argmax(axis=1)
    return np.where(differ, (one - two) / both, 0), differ


def _rows_needed(value: float, error: float, checked: int, num_rows: int, confidence: float) -> int | None:
    """Return the rows needed for a larger sample of this kind, whose variance falls with 1 / n - 1 / N."""
    if value == 0 or checked == num_rows:
        return None
    reach = NormalDist().inv_cdf((1 + confidence) / 2) + NormalDist().inv_cdf(POWER)
    of_one = error**2 / (1 / checked - 1 / num_rows)
    return ceil(1 / (1 / num_rows + value**2 / (reach**2 * of_one))) if of_one > 0 else checked
