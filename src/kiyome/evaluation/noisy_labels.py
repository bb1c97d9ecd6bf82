"""True accuracy of a model from labels that may be wrong. N rows, K classes.

    h  predicted class     s  given label     y  true class, hidden     e  P(s != y)

    A - A~ = e (d - c)        true accuracy less score: the model repeats a share c = P(h = s | s != y) of the
                              wrong labels, and is right on a share d = P(h = y | s != y) of them

    accuracy_under_noise(labels, pred_probs) -> AccuracyUnderNoise
        bounds        no assumption but e: from all wrong labels repeated to none
        estimate      model and label errors are independent given the class: mean over rows of inv(T)[s, h]
        sensitivity   from there to c = 1, where A = A~ - e
        ceiling       1 - e, the expected score of a perfect model

Labels and predictions do not determine how often model and people make the same mistake. Rows that people
check again do: see `audit`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.checks import Labels, Matrix, check_scored
from kiyome.errors import InputError
from kiyome.estimates import Estimate, check_confidence, group_numbers, proportion_of_rows
from kiyome.noise import noise_rate
from kiyome.noise.adaptive import adaptive_joint, fit_adaptive
from kiyome.noise.transition import transition_of

NUM_DRAWS = 100  # each fits the noise again; a standard deviation within 7 % of itself
MOST_ROWS_A_DRAW = 10_000  # of more rows each draw takes these; deviations shrink by the root of the share
REPEATS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SEEN_REPEATS = 0.2  # networks on human labels repeated 0.06 to 0.15, twelve here and five elsewhere


@dataclass(frozen=True, kw_only=True)
class Range:
    """Two values between which a number lies; no confidence interval."""

    low: float
    high: float

    def as_percent(self) -> str:
        """Return the range in words, as percentages.

        >>> Range(low=0.812, high=0.9765).as_percent()
        '81.2 to 97.7 %'
        """
        return f"{100 * self.low:.1f} to {100 * self.high:.1f} %"


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A share of wrong labels with its range: a measured interval, or a band of what cannot be decided."""

    value: float
    low: float
    high: float
    source: str
    """Its source, in words."""

    def as_percent(self) -> str:
        """Return the range in words, as percentages.

        >>> Rate(value=0.087, low=0.078, high=0.125, source="measured").as_percent()
        '8.7 % (7.8 to 12.5 %)'
        """
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f} %)"


@dataclass(frozen=True, kw_only=True)
class SensitivityPoint:
    """True accuracy if the model repeats this share of the wrong labels."""

    repeats: float
    true_accuracy: Estimate


@dataclass(frozen=True, kw_only=True)
class AccuracyUnderNoise:
    """A score on given labels, and the range of true accuracy that it leaves open."""

    accuracy_on_given: Estimate
    noise_rate: Rate
    bounds: Range
    """Of the true accuracy with no assumption, over the range of the noise rate and sampling error."""
    estimated_true_accuracy: Estimate
    """If model and label errors are independent given the true class; too high on human labels. The interval
    covers sampling error and, where the noise rate is estimated from these predictions, its band."""
    plausible: Range
    """From no wrong label repeated to 20 % repeated, over the noise rate's range."""
    sensitivity: tuple[SensitivityPoint, ...]
    """From coincidental matches of wrong labels only to all of them repeated."""
    ceiling: Rate
    """Expected score of a perfect model on labels as noisy as these."""
    errs_together: bool
    """The score is significantly above what independent errors allow."""

    def describe(self) -> tuple[str, ...]:
        """Return the result in sentences."""
        rate = self.noise_rate
        independent = (
            "True accuracy if model and label errors are independent given the class:"
            f" {self.estimated_true_accuracy.as_percent()}; too high on human labels."
        )
        plausible = (
            f"Plausible true accuracy: {self.plausible.as_percent()}, if the model repeats up to"
            f" {100 * SEEN_REPEATS:.0f} % of the wrong labels, more than networks on human labels did."
        )
        ceiling = (
            f"Ceiling: a perfect model would score about {self.ceiling.as_percent()} on these labels; one"
            " that has learned the annotators' habits may score more."
        )
        sentences = (
            f"Accuracy on given labels: {self.accuracy_on_given.as_percent()}.",
            f"Wrong labels: about {rate.as_percent()}, {rate.source}.",
            f"True accuracy with no assumption: {self.bounds.as_percent()}.",
            *(independent, plausible, ceiling),
        )
        together = "The score is above what independent errors allow: the model repeats some of the mistakes."
        return (*sentences, together) if self.errs_together else sentences


def accuracy_under_noise(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    transition_matrix: ArrayLike | None = None,
    measured: Estimate | None = None,
    groups: ArrayLike | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> AccuracyUnderNoise:
    """Return the range of true accuracy that labels with errors leave open.

    Parameters
    ----------
    labels
        (N,) given labels, whole numbers from 0 to K-1.
    pred_probs
        (N, K) probabilities of models that did not see the row; rows sum to one.
    transition_matrix
        (K, K) [true, given], where the noise is known; else estimated with `method="adaptive"` from these
        predictions, which counts a weak predictor's own mistakes as wrong labels.
    measured
        The share of wrong labels, where people measured it: by an audit, or by labels given twice. The
        matrix is then scaled to that share.
    groups
        (N,) rows with the same value belong together and are drawn together; an empty text stands alone.
    confidence, seed
        Of intervals of sampling error, and of their bootstrap, which estimates the matrix anew in each draw.
        Sampling error alone covered the truth in 0 to 18 % of simulations with a matrix from these
        predictions, so there the interval includes the band of their noise rate, and is none of 95 %.

    Raises
    ------
    InputError
        Both a matrix and a measured share; unsuitable arrays.

    Notes
    -----
    Under class-conditional noise the order of models is kept: Chen et al. (2020), arXiv 2012.04193. The
    estimate is the trace of G inv(T), with G the counts of [predicted, given]. For twelve networks on human
    labels (CIFAR-10N) it was 1 to 11 points too high where the truth was known; the share of repeated wrong
    labels that gives the true accuracy was 0.064 to 0.140, for others up to 0.150, so `plausible` ends at
    0.2.

    Examples
    --------
    >>> from kiyome.noise import inject_label_noise, simulate_pred_probs
    >>> rng, T = np.random.default_rng(0), np.full((3, 3), 0.1) + 0.7 * np.eye(3)
    >>> truth = np.arange(3000) % 3
    >>> probs = simulate_pred_probs(truth, 3, rng, accuracy=0.9)
    >>> found = accuracy_under_noise(inject_label_noise(truth, T, rng), probs, transition_matrix=T)
    >>> found.accuracy_on_given.as_percent()
    '73.6 % (72.0 to 75.1 %, n = 3,000)'
    >>> found.estimated_true_accuracy.as_percent()
    '90.8 % (88.5 to 93.1 %, n = 3,000)'
    """
    check_confidence(confidence)
    given, probs = check_scored(labels, pred_probs)
    N, predicted = len(given), probs.argmax(axis=1)
    together = None if groups is None else group_numbers(groups, N)
    known = None if transition_matrix is None else check_matrix(transition_matrix, probs.shape[1])
    refuse_both(known, measured)

    def curve(rows: NDArray[np.intp] | slice, share: float | None) -> Matrix:
        T = matrix_from_predictions(given[rows], probs[rows]) if known is None else known
        return _curve(given[rows], predicted[rows], T, share)

    T = matrix_from_predictions(given, probs) if known is None else known
    rate = rate_of_wrong_labels(given, probs, T, measured, is_known=known is not None)
    score = proportion_of_rows(predicted == given, groups=together, confidence=confidence, seed=seed)
    values = _curve(given, predicted, T, None if measured is None else measured.value)
    spread = bootstrap_spread(curve, np.arange(N) if together is None else together, measured, seed)
    half = NormalDist().inv_cdf((1 + confidence) / 2) * spread
    bounds = bounds_without_assumption(score, rate)
    # a matrix scaled to a distant rate may be close to singular, so the ends use uniform errors
    ends = [
        _with_uniform_errors(score.value, share, probs.shape[1], np.array(REPEATS))
        for share in (rate.low, rate.high)
    ]
    # a measured share is drawn in the bootstrap; the band of an estimated one is not
    is_own = measured is None and known is None
    open_ = [values, *ends] if is_own else [values]
    lowest, highest = np.min(open_, axis=0) - half, np.max(open_, axis=0) + half
    points = tuple(
        SensitivityPoint(repeats=repeats, true_accuracy=_estimate(value, low, high, N))
        for repeats, value, low, high in zip(REPEATS, values, lowest, highest, strict=True)
    )
    return AccuracyUnderNoise(
        accuracy_on_given=score,
        noise_rate=rate,
        bounds=bounds,
        estimated_true_accuracy=points[0].true_accuracy,
        plausible=_plausible(np.array([values, *ends]), half, bounds),
        sensitivity=points,
        ceiling=Rate(value=1 - rate.value, low=1 - rate.high, high=1 - rate.low, source=rate.source),
        errs_together=bool(values[0] - half[0] > 1),
    )


def bounds_without_assumption(score: Estimate, noise_rate: Rate) -> Range:
    """Return the range of true accuracy for any mistakes, over both intervals.

    At the lower end every wrong label is repeated, at the upper end none, as far as there are enough rows:
    A <= 1 - |1 - e - A~|.

    >>> score = Estimate(value=0.9, low=0.9, high=0.9, num_rows=100)
    >>> rate = Rate(value=0.08, low=0.08, high=0.08, source="known")
    >>> found = bounds_without_assumption(score, rate)
    >>> round(found.low, 2), round(found.high, 2)
    (0.82, 0.98)
    """
    # the smallest distance of a score and one less a rate
    gap = max(1 - noise_rate.high - score.high, score.low - (1 - noise_rate.low), 0.0)
    return Range(low=max(score.low - noise_rate.high, 0.0), high=1 - gap)


def matrix_with_noise_rate(transition_matrix: Matrix, true_shares: Matrix, noise_rate: float) -> Matrix:
    """Return the matrix (K, K) with the same confusions and, over all rows, this noise rate.

    A class whose labels would all be wrong stays at that, so a very high rate may not be reached.

    >>> matrix_with_noise_rate(np.array([[0.9, 0.1], [0.3, 0.7]]), np.array([0.5, 0.5]), 0.1)
    array([[0.95, 0.05],
           [0.15, 0.85]])
    """
    wrong = 1 - np.diag(transition_matrix)
    now = float(true_shares @ wrong)
    if now <= 0:  # no error shows the confusions: uniform ones
        K = len(wrong)
        return np.full((K, K), noise_rate / (K - 1)) + (1 - noise_rate * K / (K - 1)) * np.eye(K)
    factor = np.minimum(noise_rate / now, 1 / np.maximum(wrong, 1e-12))
    scaled = transition_matrix * factor[:, np.newaxis]
    np.fill_diagonal(scaled, 1 - wrong * factor)
    return scaled


def _curve(labels: Labels, predicted: Labels, T: Matrix, noise_rate: float | None) -> Matrix:
    """Return the true accuracy at each of REPEATS; the first is the estimate under independent errors."""
    shares = true_shares(labels, T)
    if noise_rate is not None:
        T = matrix_with_noise_rate(T, shares, noise_rate)
    e = 1 - float(true_shares(labels, T) @ np.diag(T))
    score, apart = float((predicted == labels).mean()), float(np.linalg.pinv(T)[labels, predicted].mean())
    if e <= 0:
        return np.full(len(REPEATS), score)
    repeats = np.array(REPEATS)
    alike = _with_uniform_errors(score, e, len(T), repeats)
    # the more mistakes are repeated, the less the classes' confusions in T matter
    curve: Matrix = alike + (1 - repeats) * (apart - alike[0])
    return curve


def _with_uniform_errors(score: float, e: float, num_classes: int, repeats: Matrix) -> Matrix:
    """Return the true accuracy if a share of wrong labels is repeated and other errors are uniform."""
    met = e * (1 - repeats) / (num_classes - 1)  # wrong labels that a wrong prediction matches by coincidence
    right_on_right = (score - e * repeats - met) / np.maximum(1 - e - met, 1e-3)
    true_accuracy: Matrix = right_on_right * (1 - e * repeats)
    return true_accuracy


def true_shares(labels: Labels, T: Matrix) -> Matrix:
    """Return the shares (K,) of true classes that T turns into those of the given labels.

    >>> true_shares(np.array([0, 0, 0, 1]), np.array([[1.0, 0.0], [0.5, 0.5]]))
    array([0.5, 0.5])
    """
    given = np.bincount(labels, minlength=len(T)) / len(labels)
    shares: Matrix = (given @ np.linalg.pinv(T)).clip(min=0)
    shares /= shares.sum()
    return shares


def matrix_from_predictions(labels: Labels, pred_probs: Matrix) -> Matrix:
    """Return T[true, given] as these predictions estimate it."""
    return transition_of(adaptive_joint(fit_adaptive(labels, pred_probs)))


def rate_of_wrong_labels(
    labels: Labels, pred_probs: Matrix, T: Matrix, measured: Estimate | None, *, is_known: bool
) -> Rate:
    """Return the share of wrong labels: measured, of the known matrix, or estimated from the predictions."""
    if measured is not None:
        source = f"measured (n = {measured.num_rows:,})"
        return Rate(value=measured.value, low=measured.low, high=measured.high, source=source)
    if is_known:
        e = 1 - float(true_shares(labels, T) @ np.diag(T))
        return Rate(value=e, low=e, high=e, source="from the given matrix")
    found = noise_rate(labels, pred_probs)
    return Rate(value=found.value, low=found.low, high=found.high, source="estimated from these predictions")


def bootstrap_spread(
    curve: Callable[[NDArray[np.intp], float | None], Matrix],
    together: NDArray[np.intp],
    measured: Estimate | None,
    seed: int,
) -> Matrix:
    """Return the standard deviation of the curve over draws of whole groups, and of the measured share."""
    rng, num_groups = np.random.default_rng(seed), int(together.max()) + 1
    by_group, sizes = np.argsort(together, kind="stable"), np.bincount(together)
    starts = np.cumsum(sizes) - sizes
    taken = max(min(num_groups, MOST_ROWS_A_DRAW * num_groups // len(together)), 1)
    curves = []
    for _ in range(NUM_DRAWS):
        groups = rng.integers(num_groups, size=taken)
        ends = np.cumsum(sizes[groups])
        rows = by_group[np.repeat(starts[groups] + sizes[groups] - ends, sizes[groups]) + np.arange(ends[-1])]
        share = None
        if measured is not None:
            deviation = (measured.high - measured.low) / 3.92 * np.sqrt(num_groups / taken)
            share = float(np.clip(rng.normal(measured.value, deviation), 1e-6, 0.99))
        curves.append(curve(rows, share))
    spread: Matrix = np.std(curves, axis=0, ddof=1) * np.sqrt(taken / num_groups)
    return spread


def _estimate(value: float, low: float, high: float, num_rows: int) -> Estimate:
    """Return the estimate clipped to 0..1, which sampling error can exceed."""
    low, value, high = (min(max(float(x), 0.0), 1.0) for x in (low, value, high))
    return Estimate(value=value, low=low, high=high, num_rows=num_rows)


def _plausible(curves: Matrix, half: Matrix, bounds: Range) -> Range:
    """Return the range over all curves up to SEEN_REPEATS."""
    seen = np.array(REPEATS) <= SEEN_REPEATS
    low, high = (curves - half)[:, seen].min(), (curves + half)[:, seen].max()
    return Range(
        low=float(np.clip(low, bounds.low, bounds.high)), high=float(np.clip(high, bounds.low, bounds.high))
    )


def refuse_both(known: Matrix | None, measured: Estimate | None) -> None:
    """Raise where both a matrix and a measured share are given."""
    if known is not None and measured is not None:
        raise InputError(
            "Both transition_matrix and measured are given.",
            expected="Expected one of them.",
            remedy="Leave one out.",
        )


def check_matrix(transition_matrix: ArrayLike, num_classes: int) -> Matrix:
    """Return the matrix (K, K) as numbers; each row must be a distribution."""
    T = np.asarray(transition_matrix, dtype=np.float64)
    fits = T.shape == (num_classes, num_classes) and (T >= 0).all() and np.allclose(T.sum(axis=1), 1)
    if not fits:
        raise InputError(
            f"transition_matrix has shape {T.shape} and row sums {T.sum(axis=-1)}.",
            expected=f"Expected [true, given] of shape ({num_classes}, {num_classes}) whose rows sum to one.",
            remedy="Pass T[true, given]; cleanlab's noise_matrix is the transpose.",
        )
    return T
