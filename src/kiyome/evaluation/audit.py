"""What a checked sample says of all N rows: true accuracy, wrong labels, and the noise by class. K classes.

    design + what people said ─► hits by stratum ─► accuracy_on_true, noise_rate      (stratified_proportion)
                              └► weights of rows ─► transition matrix, noise by class (ratios of sums)

No assumption about the noise is made: only that the sample is the drawn one, and that people are right.
"""

from __future__ import annotations

from dataclasses import dataclass

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
"""Stands for a true label that people could not tell."""

ENOUGH_ROWS = 10
"""Checked rows of a class, below which its row of the matrix is marked."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditedTransition:
    """T[true, given] = P(given | true) as the checked rows show it; NaN where no row of a class was seen."""

    value: Numbers
    """(K, K) rows sum to one."""
    low: Numbers
    high: Numbers
    rows_seen: NDArray[np.int64]
    """(K,) checked rows whose true class it is."""

    @property
    def is_enough(self) -> Mask:
        """(K,) classes of which ten rows or more were seen; the others' intervals say little."""
        return self.rows_seen >= ENOUGH_ROWS


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditedScore:
    """What an audit says of a model and of the labels, each number with its interval."""

    accuracy_on_true: Estimate
    """Share of all rows whose likeliest class is the true one; unsure rows as the others of their stratum."""
    noise_rate: Estimate
    """Share of all rows whose given label is wrong; unsure rows likewise."""
    accuracy_bounds: tuple[float, float]
    """The lower end if the model were wrong on every unsure row, the upper end if it were right."""
    noise_bounds: tuple[float, float]
    """The lower end if every unsure row had a right label, the upper end if each had a wrong one."""
    transition: AuditedTransition
    noise_by_given_class: tuple[Estimate | None, ...]
    """Of each class, the share of rows given it that belong elsewhere; None where none was checked."""
    num_checked: int
    num_unsure: int
    confidence: float


def audited_accuracy(
    design: AuditDesign,
    true_labels: ArrayLike,
    labels: ArrayLike,
    predicted_labels: ArrayLike,
    *,
    num_classes: int,
    confidence: float = 0.95,
) -> AuditedScore:
    """True accuracy, noise rate and transition matrix from a sample that people checked.

    Parameters
    ----------
    design
        From `draw_audit`.
    true_labels
        (n,) what people said of `design.rows`, in that order, 0 to K-1, or -1 where they could not tell. A
        shorter array speaks of the first rows only: they are a random sample themselves, as the order is.
    labels, predicted_labels
        (N,) given labels, and any model's likeliest classes; it need not be the model that made the design.
    num_classes
        K.
    confidence
        Of every interval.

    Returns
    -------
    AuditedScore

    Raises
    ------
    InputError
        Arrays that do not fit the design, or nothing but unsure rows.

    Notes
    -----
    Shares by `stratified_proportion`. Class by class the ratio of weighted sums (Hajek), with Wilson's interval
    for the number of independent rows that the sample is worth there (Korn and Graubard, 1998, Survey
    Methodology 24, 193-201). Of a stopped audit the rows so far count, provided that nobody stopped because
    of what they saw. A stratum without a decided row joins its neighbor.

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
    >>> score.noise_rate.value
    0.0
    """
    num_rows = len(design.strata.stratum_of_row)
    given = check_labels(labels, num_rows=num_rows, num_classes=num_classes)
    predicted = check_labels(predicted_labels, num_rows=num_rows, num_classes=num_classes)
    said = check_answers(true_labels, design, num_classes)
    rows = design.rows[: len(said)]
    every, decided = CheckedSample.of(design, rows), said != UNSURE
    known, true = CheckedSample.of(design, rows[decided]), said[decided]
    unsure = ~decided
    model_right, label_wrong = predicted[rows] == said, (given[rows] != said) & decided
    accuracy = known.proportion(model_right[decided], confidence)
    noise = known.proportion(label_wrong[decided], confidence)
    bounds = [(accuracy.low, accuracy.high), (noise.low, noise.high)]
    if unsure.any():
        bounds = [_bounds(every, hits, unsure, confidence) for hits in (model_right, label_wrong)]
    return AuditedScore(
        accuracy_on_true=accuracy,
        noise_rate=noise,
        accuracy_bounds=bounds[0],
        noise_bounds=bounds[1],
        transition=_transition(known, true, given[known.rows], num_classes, confidence),
        noise_by_given_class=tuple(
            known.ratio(given[known.rows] == k, given[known.rows] != true, confidence)
            for k in range(num_classes)
        ),
        num_checked=len(said),
        num_unsure=int(unsure.sum()),
        confidence=confidence,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class CheckedSample:
    """Checked rows with the strata they speak for."""

    rows: Labels
    stratum: Labels
    """(n,) after strata without a checked row have joined a neighbor."""
    sizes: Numbers
    """(H,) rows of each of these strata, checked or not."""
    stratum_of_row: Labels
    """(N,) the same of all rows."""

    @classmethod
    def of(cls, design: AuditDesign, rows: Labels) -> CheckedSample:
        """These rows of a design; every stratum without one joins the next lower one that has any."""
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
        """(n,) of how many rows each speaks."""
        weights: Numbers = (self.sizes / self.counts)[self.stratum]
        return weights

    def proportion(self, hits: Mask, confidence: float) -> Estimate:
        """Share of all rows that are hits."""
        found = np.bincount(self.stratum, hits, minlength=len(self.sizes))
        return stratified_proportion(found, self.counts, self.sizes, confidence=confidence)

    def ratio(self, is_in: Mask, hits: Mask, confidence: float) -> Estimate | None:
        """Share of hits among rows of a kind; None where none of the kind was checked."""
        if not is_in.any():
            return None
        parts = self.weights * is_in
        parts = parts / parts.sum()
        value = float(np.clip(parts @ hits, 0, 1))
        low, high = wilson_interval(value, self._worth(parts, hits, value), confidence=confidence)
        return Estimate(value=value, low=low, high=high, num_rows=int(is_in.sum()))

    def _worth(self, parts: Numbers, hits: Mask, value: float) -> float:
        """How many independent rows would leave the variance that the ratio has."""
        of_others = self.counts / np.maximum(self.counts - 1, 1)
        # squares about zero, not about a stratum's mean: few rows a stratum know their mean badly
        variance = float((of_others[self.stratum] * (parts * (hits - value)) ** 2).sum())
        return value * (1 - value) / variance if variance > 1e-15 else 1 / float(parts @ parts)


def check_answers(true_labels: ArrayLike, design: AuditDesign, num_classes: int) -> Labels:
    """What people said of the first rows of a design, once it can be.

    >>> from kiyome.evaluation.audit_design import Strata
    >>> strata = Strata(stratum_of_row=np.zeros(9, np.int8), num_disagreeing=0, guesses=np.array([0.9]),
    ...                 spreads=np.array([0.3]))
    >>> check_answers([1, -1], AuditDesign(rows=np.array([3, 4, 7]), strata=strata, seed=0), 2)
    array([ 1, -1])
    """
    said = np.asarray(true_labels)
    whole = said.ndim == 1 and said.dtype.kind in "iu" and 0 < len(said) <= len(design.rows)
    if not whole or said.min() < UNSURE or said.max() >= num_classes or (said == UNSURE).all():
        raise InputError(
            f"true_labels are whole numbers from 0 to {num_classes - 1}, or {UNSURE} for unsure, of the"
            f" {len(design.rows)} rows of the design or the first of them; not all are unsure.",
            came=f"an array of shape {said.shape} of {said.dtype}",
            remedy="Pass what people said, in the order of design.rows.",
        )
    return said.astype(np.intp)


def _bounds(drawn: CheckedSample, hits: Mask, unsure: Mask, confidence: float) -> tuple[float, float]:
    return drawn.proportion(hits & ~unsure, confidence).low, drawn.proportion(hits | unsure, confidence).high


def _transition(
    drawn: CheckedSample, true: Labels, given: Labels, num_classes: int, confidence: float
) -> AuditedTransition:
    cells = np.full((3, num_classes, num_classes), np.nan)
    for t in np.unique(true):
        for g in range(num_classes):
            cell = drawn.ratio(true == t, given == g, confidence)
            assert cell is not None  # noqa: S101 - the class was seen
            cells[:, t, g] = cell.value, cell.low, cell.high
    value, low, high = cells
    seen = np.bincount(true, minlength=num_classes).astype(np.int64)
    return AuditedTransition(value=value, low=low, high=high, rows_seen=seen)
