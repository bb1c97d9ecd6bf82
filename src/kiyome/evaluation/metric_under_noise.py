"""Other metrics than accuracy on labels that may be wrong. N rows, K classes.

    s  given label     h  predicted class     y  true class, hidden     T[y, s]     U = inv(T)

    If label errors depend on the true class alone, the weight U[s, y] of a row has the mean 1 for its true
    class and 0 for any other. Each metric is a function of such weights; on given labels U is the identity.

        confusion    U' [s, h] counts    accuracy, balanced_accuracy, macro_f1, quadratic_kappa
        loss         mean over rows of U[s] . -log p         log_loss
        pairs        weights of two different rows, multiplied      auc, each class against the rest

That mistakes of model and labels are independent given the class is an assumption, and too favorable on human
labels. What a share of repeated mistakes would change follows from the confusion counts; log loss and AUC
depend on the probabilities that a model gives to repeated mistakes, which nothing here determines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.artifacts.predictions import floored_log
from kiyome.checks import Labels, Matrix, check_scored
from kiyome.errors import choose
from kiyome.estimates import Estimate, check_confidence, group_numbers
from kiyome.evaluation.metric_on_given import METRICS, mean_auc, metric_on_given, weighted_score
from kiyome.evaluation.metrics import Counts, confusion_counts
from kiyome.evaluation.noisy_labels import (
    REPEATS,
    SEEN_REPEATS,
    Range,
    Rate,
    bootstrap_spread,
    check_matrix,
    matrix_from_predictions,
    matrix_with_noise_rate,
    rate_of_wrong_labels,
    refuse_both,
    true_shares,
)

SEEN = np.array([each for each in REPEATS if each <= SEEN_REPEATS])
STANDARD_ERRORS = 3  # of its own noise, below which a corrected count may be of the wrong sign


@dataclass(frozen=True, kw_only=True)
class MetricUnderNoise:
    """A metric on given labels, and what it may be on true ones."""

    metric: str
    """A name of `METRICS`."""
    on_given: Estimate
    noise_rate: Rate
    estimated_true: Estimate | None
    """If model and label errors are independent given the true class; None where `refused` says why."""
    plausible: Range | None
    """From no wrong label repeated to 20 % repeated; None where the confusion counts do not determine it."""
    ceiling: float
    """Expected score, on labels as noisy as these, of a model that knows every true class and the noise."""
    refused: tuple[str, ...]
    """Reasons of what is None."""

    def describe(self) -> tuple[str, ...]:
        """Return the result in sentences."""
        title = METRICS[self.metric].title
        given = (
            f"{title[0].upper()}{title[1:]} on given labels: {in_words(self.on_given)}; a model that knows"
            f" every true class would score about {self.ceiling:.4f} on them."
        )
        sentences = [given]
        if self.estimated_true is not None:
            sentences.append(
                f"True {title} if model and label errors are independent given the class:"
                f" {in_words(self.estimated_true)}; too favorable on human labels."
            )
        if self.plausible is not None:
            low, high = self.plausible.low, self.plausible.high
            sentences.append(
                f"Plausible true {title}: {low:.4f} to {high:.4f}, if the model repeats up to"
                f" {100 * SEEN_REPEATS:.0f} % of the wrong labels."
            )
        return (*sentences, *self.refused)


def in_words(estimate: Estimate) -> str:
    """Return an estimate with four digits.

    >>> in_words(Estimate(value=0.8, low=0.75, high=0.85, num_rows=1200))
    '0.8000 (0.7500 to 0.8500, n = 1,200)'
    """
    return f"{estimate.value:.4f} ({estimate.low:.4f} to {estimate.high:.4f}, n = {estimate.num_rows:,})"


def metric_under_noise(
    metric: str,
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    transition_matrix: ArrayLike | None = None,
    measured: Estimate | None = None,
    groups: ArrayLike | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> MetricUnderNoise:
    """Return a metric on given labels, and what label noise leaves open about it.

    Parameters
    ----------
    metric
        "accuracy", "balanced_accuracy", "macro_f1", "log_loss", "auc" (mean over classes of one against the
        rest) or "quadratic_kappa" (for classes that are in order).
    labels, pred_probs, transition_matrix, measured, groups
        As for `accuracy_under_noise`.
    confidence, seed
        Of the intervals, and of their bootstrap.

    Raises
    ------
    InputError
        An unknown metric; both a matrix and a measured share; unsuitable arrays.

    Notes
    -----
    Unmixing counts by the inverse of the noise: van Rooyen and Williamson (2018), JMLR 18; for losses,
    Natarajan et al. (2013), NeurIPS 26; for AUC, Menon et al. (2015), ICML 32. Interval of AUC: DeLong,
    DeLong and Clarke-Pearson (1988), Biometrics 44, 837-845, on the log-odds scale. Refused where the noise
    alone could move the corrected count of a class to zero, where the corrected value is impossible, and for
    log loss and AUC without a matrix or a measured share: with the matrix of its own predictions, the AUC of
    six networks of seven was impossible and that of the seventh wrong.

    Examples
    --------
    >>> from kiyome.noise import inject_label_noise, simulate_pred_probs
    >>> rng, T = np.random.default_rng(0), np.full((3, 3), 0.1) + 0.7 * np.eye(3)
    >>> truth = np.arange(3000) % 3
    >>> probs = simulate_pred_probs(truth, 3, rng, accuracy=0.9)
    >>> labels = inject_label_noise(truth, T, rng)
    >>> found = metric_under_noise("macro_f1", labels, probs, transition_matrix=T)
    >>> round(found.on_given.value, 2), round(found.estimated_true.value, 2), round(found.ceiling, 2)
    (0.74, 0.91, 0.8)
    """
    choose("metric", metric, METRICS)
    check_confidence(confidence)
    given, probs = check_scored(labels, pred_probs)
    N, K = probs.shape
    known = None if transition_matrix is None else check_matrix(transition_matrix, K)
    refuse_both(known, measured)
    T = matrix_from_predictions(given, probs) if known is None else known
    rate = rate_of_wrong_labels(given, probs, T, measured, is_known=known is not None)
    shares = true_shares(given, T)
    if measured is not None:
        T = matrix_with_noise_rate(T, shares, measured.value)
    ends = [T]
    if known is None and measured is None:
        # a matrix scaled to a distant rate may be close to singular, so the ends use uniform errors
        ends += [matrix_with_noise_rate(np.eye(K), shares, share) for share in (rate.low, rate.high)]
    together = None if groups is None else group_numbers(groups, N)
    title, by_counts = METRICS[metric].title, METRICS[metric].of_confusion is not None
    estimated, plausible, refused = None, None, list[str]()
    if not by_counts and known is None and measured is None:
        refused.append(
            f"No estimate of the true {title}: it needs noise that was measured, as a noise matrix from the"
            " same predictions misleads it."
        )
    elif (unstable := _unstable_class(given, ends)) is not None:
        refused.append(
            f"No estimate of the true {title}: noise alone may move the count of class {unstable} (from 0) to"
            " zero."
        )
    else:
        spread = _spread_of_true_scores(metric, given, probs, known, measured, together, seed)
        half = NormalDist().inv_cdf((1 + confidence) / 2) * spread
        curves = np.array([_true_scores(metric, given, probs, each) for each in ends])
        estimated = _estimate(metric, curves[:, 0], float(half[0]), N)
        if by_counts:
            low, high = _within(metric, np.array([(curves - half).min(), (curves + half).max()])).tolist()
            plausible = Range(low=low, high=high)
        if estimated is None:
            refused.append(
                f"No estimate of the true {title}: corrected as if errors were independent, it lies outside"
                " its range; the model repeats mistakes of the labels, or the noise matrix is wrong."
            )
    if not by_counts:
        refused.append(
            f"No plausible range of the true {title}: it depends on the probabilities that the model gives to"
            " mistakes that it repeats, which labels and predictions do not determine."
        )
    return MetricUnderNoise(
        metric=metric,
        on_given=metric_on_given(metric, given, probs, groups=together, confidence=confidence, seed=seed),
        noise_rate=rate,
        estimated_true=estimated,
        plausible=plausible,
        ceiling=_ceiling(metric, T, true_shares(given, T)),
        refused=tuple(refused),
    )


def _true_scores(metric: str, labels: Labels, pred_probs: Matrix, T: Matrix) -> Matrix:
    """Return the true metric at each of SEEN, or only under independent errors if not of the confusion."""
    of_confusion = METRICS[metric].of_confusion
    if of_confusion is None:
        return np.array([weighted_score(metric, labels, pred_probs, np.linalg.pinv(T).astype(np.float64))])
    counts = confusion_counts(labels, pred_probs.argmax(axis=1), len(T))
    shares = true_shares(labels, T)
    return np.array([of_confusion(_true_confusion(counts, T, shares, repeats)) for repeats in SEEN])


def _spread_of_true_scores(
    metric: str,
    labels: Labels,
    pred_probs: Matrix,
    known: Matrix | None,
    measured: Estimate | None,
    together: NDArray[np.intp] | None,
    seed: int,
) -> Matrix:
    """Return the standard deviation of `_true_scores` over draws of rows, each with its own matrix."""

    def scores(rows: NDArray[np.intp], share: float | None) -> Matrix:
        T = matrix_from_predictions(labels[rows], pred_probs[rows]) if known is None else known
        if share is not None:
            T = matrix_with_noise_rate(T, true_shares(labels[rows], T), share)
        return _true_scores(metric, labels[rows], pred_probs[rows], T)

    return bootstrap_spread(scores, np.arange(len(labels)) if together is None else together, measured, seed)


def _true_confusion(counts: Counts, T: Matrix, shares: Matrix, repeats: float) -> Counts:
    """Return counts (K, K) by [true, predicted] if this share of the wrong labels is repeated."""
    joint = shares[:, np.newaxis] * T * counts.sum()
    repeated = repeats * (joint - np.diag(np.diag(joint)))  # [true, given], and predicted as given
    others = joint - repeated
    sums = others.sum(axis=1, keepdims=True)
    T_others = np.divide(others, sums, out=np.eye(len(T)), where=sums > 0)
    true: Counts = np.linalg.pinv(T_others).T @ (counts - np.diag(repeated.sum(axis=0))) + repeated
    return true


def _ceiling(metric: str, T: Matrix, shares: Matrix) -> float:
    """Return the score on given labels of a model that states T[y] for each row of true class y."""
    joint, of_confusion = shares[:, np.newaxis] * T, METRICS[metric].of_confusion
    if of_confusion is not None:
        return of_confusion(joint.T)
    if metric == "log_loss":
        return float((joint * -floored_log(T)).sum())
    return mean_auc(T, joint, shares[:, np.newaxis] - joint, own=np.zeros(len(T)))


def _unstable_class(labels: Labels, matrices: Sequence[Matrix]) -> int | None:
    """Return a class with given rows whose corrected count may be due to noise alone, if there is one."""
    for T in matrices:
        U, given = np.linalg.pinv(T), np.bincount(labels, minlength=len(T))
        corrected = given @ U
        # variance of the weights, summed over rows by their corrected true class
        variance = corrected.clip(min=0) @ (T @ U**2 - np.eye(len(T)))
        unstable = (given > 0) & (corrected < STANDARD_ERRORS * np.sqrt(variance.clip(min=0)))
        if unstable.any() or np.linalg.matrix_rank(T) < len(T):
            return int(unstable.argmax())
    return None


def _estimate(metric: str, values: Matrix, half: float, num_rows: int) -> Estimate | None:
    """Return the first value with an interval about all of them; None if it is impossible beyond luck."""
    _, least, most, _ = METRICS[metric]
    if values[0] - half > most or values[0] + half < least:
        return None
    ends = np.array([values[0], values.min() - half, values.max() + half])
    value, low, high = _within(metric, ends).tolist()
    return Estimate(value=value, low=low, high=high, num_rows=num_rows)


def _within(metric: str, values: Matrix) -> Matrix:
    """Return values clipped to the range of the metric, which sampling error can exceed."""
    clipped: Matrix = np.clip(values, METRICS[metric].least, METRICS[metric].most)
    return clipped
