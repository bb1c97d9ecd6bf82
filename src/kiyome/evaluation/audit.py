"""True accuracy, class shares and label noise of all N rows, estimated from a checked sample. K classes.

    design + answers ─► hits by stratum ─► accuracy_on_true, noise_rate      (stratified_proportion)
                     ├► weights of rows ─► transition matrix, noise by class (ratios of sums)
                     └► predicted class less the true one ─► class shares    (difference_estimate)

There is no assumption about the noise: only that the sample is the drawn one, and that people are right.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.checks import check_labels
from kiyome.errors import InputError
from kiyome.estimates import Estimate, wilson_interval
from kiyome.evaluation.audit_design import AuditDesign
from kiyome.evaluation.stratified import stratified_proportion

Numbers = NDArray[np.float64]
Labels = NDArray[np.intp]
Mask = NDArray[np.bool_]

UNSURE = -1
"""The answer of people who could not tell the true label."""

NONE_OF_THESE = -2
"""The true label of a photo that shows none of the classes: any class given or predicted is wrong."""

ENOUGH_ROWS = 10
"""Checked rows of a class; with fewer, its row of the matrix carries a caveat."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditedTransition:
    """T[true, given] = P(given | true) from the checked rows; NaN for a class without one."""

    value: Numbers
    """(K, K) rows sum to one."""
    low: Numbers
    high: Numbers
    rows_seen: NDArray[np.int64]
    """(K,) checked rows whose true class it is."""

    @property
    def is_enough(self) -> Mask:
        """(K,) classes with ten checked rows or more; intervals of the others are too wide for any use."""
        return self.rows_seen >= ENOUGH_ROWS


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditedLabels:
    """Shares of wrong labels from an audit, each with its interval."""

    noise_rate: Estimate
    """Share of all rows whose given label is wrong; unsure rows as the others of their stratum."""
    noise_bounds: tuple[float, float]
    """The lower end if every unsure row had a right label, the upper end if each had a wrong one."""
    transition: AuditedTransition
    noise_by_given_class: tuple[Estimate | None, ...]
    """For each given class, the share of wrong labels; None where none was checked."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditedScore:
    """Scores of a model and of the labels from an audit, each with its interval."""

    accuracy_on_true: Estimate
    """Share of all rows whose likeliest class is the true one; unsure rows as the others of their stratum."""
    accuracy_bounds: tuple[float, float]
    """The lower end if the model were wrong on every unsure row, the upper end if it were right."""
    class_shares: tuple[Estimate, ...]
    """(K,) share of all rows that truly show each class; unsure rows likewise."""
    labels: AuditedLabels | None
    """None where the rows have no given label."""
    num_checked: int
    num_unsure: int
    confidence: float


def audited_accuracy(
    design: AuditDesign,
    true_labels: ArrayLike,
    labels: ArrayLike | None,
    predicted_labels: ArrayLike,
    *,
    num_classes: int,
    confidence: float = 0.95,
) -> AuditedScore:
    """Return true accuracy, class shares and noise of the labels from a sample that people checked.

    Parameters
    ----------
    design
        From `draw_audit`.
    true_labels
        (n,) answers for `design.rows`, in that order, 0 to K-1, -1 where people could not tell, -2 for none
        of the classes, where label and model are wrong. A shorter array answers the first rows only: these
        are a random sample, too, as the order is random.
    labels, predicted_labels
        (N,) given labels, None where the rows have none, and the likeliest classes of any model, not only the
        one of the design.
    num_classes
        K.
    confidence
        Of every interval.

    Raises
    ------
    InputError
        Arrays that do not fit the design, or nothing but unsure rows.

    Notes
    -----
    Proportions by `stratified_proportion`. For each class the ratio of weighted sums (Hajek), with Wilson's
    interval for the effective number of independent rows (Korn and Graubard, 1998, Survey Methodology 24,
    193-201). Class shares are those of the predicted classes, corrected by the checked rows
    (`difference_estimate`). The first rows of a stopped audit count, provided that nobody stopped because of
    what they saw. A stratum without a decided row joins its neighbor.

    Examples
    --------
    >>> from kiyome.evaluation.audit_design import draw_audit
    >>> rng = np.random.default_rng(0)
    >>> pred_probs = rng.dirichlet([0.1, 0.1, 0.1], 3000)
    >>> predicted = pred_probs.argmax(axis=1)
    >>> true = np.where(rng.random(3000) < 0.9, predicted, 0)
    >>> design = draw_audit(true, pred_probs, 200)
    >>> score = audited_accuracy(design, true[design.rows], true, predicted, num_classes=3)
    >>> bool(score.accuracy_on_true.low < np.mean(true == predicted) < score.accuracy_on_true.high)
    True
    >>> score.labels.noise_rate.value
    0.0
    """
    num_rows = len(design.strata.stratum_of_row)
    predicted = check_labels(predicted_labels, num_rows=num_rows, num_classes=num_classes)
    answers = check_answers(true_labels, design, num_classes)
    rows, unsure = design.rows[: len(answers)], answers == UNSURE
    every, known = CheckedSample.of(design, rows), CheckedSample.of(design, rows[~unsure])
    accuracy, bounds = _share(every, known, predicted[rows] == answers, unsure, confidence)
    of_labels = None
    if labels is not None:
        given = check_labels(labels, num_rows=num_rows, num_classes=num_classes)
        of_labels = _audited_labels(every, known, answers, given[rows], num_classes, confidence)
    return AuditedScore(
        accuracy_on_true=accuracy,
        accuracy_bounds=bounds,
        class_shares=_class_shares(known, answers[~unsure], predicted, num_classes, confidence),
        labels=of_labels,
        num_checked=len(answers),
        num_unsure=int(unsure.sum()),
        confidence=confidence,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class CheckedSample:
    """Checked rows with their strata."""

    rows: Labels
    stratum: Labels
    """(n,) once strata without a checked row have joined a neighbor."""
    sizes: Numbers
    """(H,) all rows of each of these strata."""
    stratum_of_row: Labels
    """(N,) of all rows."""

    @classmethod
    def of(cls, design: AuditDesign, rows: Labels) -> CheckedSample:
        """Return these rows of a design; a stratum without one joins the next lower one that has any."""
        stratum, sizes = design.strata.stratum_of_row[rows], design.strata.sizes
        present = np.unique(stratum)
        new = np.maximum(np.searchsorted(present, np.arange(len(sizes)), side="right") - 1, 0)
        return cls(
            rows=rows,
            stratum=new[stratum],
            sizes=np.bincount(new, sizes).astype(np.float64),
            stratum_of_row=new[design.strata.stratum_of_row],
        )

    @property
    def counts(self) -> Numbers:
        """(H,) checked rows."""
        return np.bincount(self.stratum, minlength=len(self.sizes)).astype(np.float64)

    @property
    def weights(self) -> Numbers:
        """(n,) number of rows that each one represents."""
        weights: Numbers = (self.sizes / self.counts)[self.stratum]
        return weights

    def proportion(self, hits: Mask, confidence: float) -> Estimate:
        """Return the share of all rows that are hits."""
        found = np.bincount(self.stratum, hits, minlength=len(self.sizes))
        return stratified_proportion(found, self.counts, self.sizes, confidence=confidence)

    def ratio(self, is_in: Mask, hits: Mask, confidence: float) -> Estimate | None:
        """Return the share of hits among the rows of a kind; None where none of these was checked."""
        if not is_in.any():
            return None
        parts = self.weights * is_in
        parts = parts / parts.sum()
        value = float(np.clip(parts @ hits, 0, 1))
        low, high = wilson_interval(value, self._effective_rows(parts, hits, value), confidence=confidence)
        return Estimate(value=value, low=low, high=high, num_rows=int(is_in.sum()))

    def _effective_rows(self, parts: Numbers, hits: Mask, value: float) -> float:
        """Return the number of independent rows that would give the ratio's variance."""
        bessel = self.counts / np.maximum(self.counts - 1, 1)
        # squares about zero, not about a stratum's mean, which few rows estimate badly
        variance = float((bessel[self.stratum] * (parts * (hits - value)) ** 2).sum())
        return value * (1 - value) / variance if variance > 1e-15 else 1 / float(parts @ parts)


def difference_estimate(
    sample: CheckedSample, seen: Numbers, guess: Numbers, differ: NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the estimate from d of the checked rows, and its standard error."""
    weights, unchecked = sample.sizes / sample.counts, 1 - sample.counts / sample.sizes
    residuals = seen - guess[sample.rows]
    value = float(guess.mean() + sample.weights @ residuals / len(guess))
    squares = np.bincount(sample.stratum, residuals**2, minlength=len(sample.sizes))
    differing = np.bincount(sample.stratum_of_row, differ, minlength=len(sample.sizes)) / weights
    one_more = differing / max(float(differing.sum()), 1)  # row that differs, where such rows are expected
    return value, sqrt(float((weights**2 * unchecked) @ (squares + one_more))) / len(guess)


def check_answers(true_labels: ArrayLike, design: AuditDesign, num_classes: int) -> Labels:
    """Return the answers (m,) for the first rows of a design.

    >>> from kiyome.evaluation.audit_design import Strata
    >>> strata = Strata(stratum_of_row=np.zeros(9, np.int8), num_disagreeing=0, guesses=np.array([0.9]),
    ...                 spreads=np.array([0.3]))
    >>> check_answers([1, -1], AuditDesign(rows=np.array([3, 4, 7]), strata=strata, seed=0), 2)
    array([ 1, -1])
    """
    answers = np.asarray(true_labels)
    whole = answers.ndim == 1 and answers.dtype.kind in "iu" and 0 < len(answers) <= len(design.rows)
    in_range = whole and answers.min() >= NONE_OF_THESE and answers.max() < num_classes
    if not in_range or (answers == UNSURE).all():
        found = f" and values in {answers.min()}..{answers.max()}" if whole else ""
        raise InputError(
            f"true_labels have shape {answers.shape}, type {answers.dtype}{found}.",
            expected=f"Expected whole numbers from 0 to {num_classes - 1}, {UNSURE} for unsure or"
            f" {NONE_OF_THESE} for none of the classes, for the {len(design.rows)} rows of the design or the"
            " first of them, not all unsure.",
            remedy="Pass the answers in the order of design.rows.",
        )
    return answers.astype(np.intp)


def _audited_labels(
    every: CheckedSample,
    known: CheckedSample,
    answers: Labels,
    given: Labels,
    num_classes: int,
    confidence: float,
) -> AuditedLabels:
    """Return what the answers (n,) for all checked rows say about their given labels (n,)."""
    unsure = answers == UNSURE
    noise, bounds = _share(every, known, (given != answers) & ~unsure, unsure, confidence)
    true, given = answers[~unsure], given[~unsure]
    return AuditedLabels(
        noise_rate=noise,
        noise_bounds=bounds,
        transition=_transition(known, true, given, num_classes, confidence),
        noise_by_given_class=tuple(
            known.ratio(given == k, given != true, confidence) for k in range(num_classes)
        ),
    )


def _share(
    every: CheckedSample, known: CheckedSample, hits: Mask, unsure: Mask, confidence: float
) -> tuple[Estimate, tuple[float, float]]:
    """Return the share of hits (n,) among all rows, and its ends if unsure rows are no hits, or all are."""
    share = known.proportion(hits[~unsure], confidence)
    if not unsure.any():
        return share, (share.low, share.high)
    least, most = (every.proportion(each, confidence) for each in (hits & ~unsure, hits | unsure))
    return share, (least.low, most.high)


def _class_shares(
    sample: CheckedSample, true: Labels, predicted: Labels, num_classes: int, confidence: float
) -> tuple[Estimate, ...]:
    """Return the share of each class: that of the predicted one, corrected by the checked rows."""
    reach, anywhere = NormalDist().inv_cdf((1 + confidence) / 2), np.ones(len(predicted), np.bool_)
    shares = []
    for k in range(num_classes):
        is_predicted = (predicted == k).astype(np.float64)
        value, error = difference_estimate(sample, (true == k).astype(np.float64), is_predicted, anywhere)
        low, value, high = np.clip([value - reach * error, value, value + reach * error], 0, 1).tolist()
        shares.append(Estimate(value=value, low=low, high=high, num_rows=len(true)))
    return tuple(shares)


def _transition(
    sample: CheckedSample, true: Labels, given: Labels, num_classes: int, confidence: float
) -> AuditedTransition:
    cells = np.full((3, num_classes, num_classes), np.nan)
    for t in np.unique(true[true >= 0]):
        for g in range(num_classes):
            cell = sample.ratio(true == t, given == g, confidence)
            assert cell is not None  # noqa: S101 - the class was seen
            cells[:, t, g] = cell.value, cell.low, cell.high
    value, low, high = cells
    seen = np.bincount(true[true >= 0], minlength=num_classes).astype(np.int64)
    return AuditedTransition(value=value, low=low, high=high, rows_seen=seen)
