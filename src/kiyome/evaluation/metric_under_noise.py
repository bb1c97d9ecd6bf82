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

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.artifacts.predictions import floored_log
from kiyome.checks import Labels, Matrix, check_scored
from kiyome.errors import choose
from kiyome.estimates import Estimate, check_confidence, group_numbers
from kiyome.evaluation.compare import Verdict
from kiyome.evaluation.metrics import (
    Counts,
    balanced_accuracy,
    confusion_counts,
    interval_from_confusion,
    macro_f1,
    mean_of_rows,
    quadratic_kappa,
    row_log_loss,
)
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


class Metric(NamedTuple):
    """A metric in words, and its range; `of_confusion` where the confusion counts determine it."""

    title: str
    least: float
    most: float
    of_confusion: Callable[[Counts], float] | None = None


METRICS = {
    "accuracy": Metric("accuracy", 0, 1, lambda counts: float(np.trace(counts) / counts.sum())),
    "balanced_accuracy": Metric("balanced accuracy", 0, 1, balanced_accuracy),
    "macro_f1": Metric("macro F1", 0, 1, macro_f1),
    "log_loss": Metric("log loss", 0, inf),
    "auc": Metric("AUC, one class against the rest", 0, 1),
    "quadratic_kappa": Metric("quadratic weighted kappa", -1, 1, quadratic_kappa),
}


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


def metric_on_given(
    metric: str,
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Return a metric on given labels with its interval; the parameters are those of `metric_under_noise`.

    >>> found = metric_on_given("auc", [0, 0, 1, 1], [[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]])
    >>> found.value
    0.75
    """
    choose("metric", metric, METRICS)
    given, probs = check_scored(labels, pred_probs)
    together = None if groups is None else group_numbers(groups, len(given))
    if (of := METRICS[metric].of_confusion) is not None:
        predicted, K = probs.argmax(axis=1), probs.shape[1]
        return interval_from_confusion(of, given, predicted, K, together, confidence=confidence, seed=seed)
    if metric == "log_loss":
        return mean_of_rows(row_log_loss(given, probs), groups=together, confidence=confidence)
    return _auc_on_given(given, probs, together, confidence)


@dataclass(frozen=True, kw_only=True)
class MetricDifference:
    """The metric of the first model less that of the second, on the same rows and given labels."""

    metric: str
    difference: Estimate

    @property
    def verdict(self) -> Verdict:
        """The first model is better or worse where the interval leaves zero out; a log loss is better low."""
        sign = -1 if self.metric == "log_loss" else 1
        low, high = sorted((sign * self.difference.low, sign * self.difference.high))
        return "better" if low > 0 else "worse" if high < 0 else "cannot tell"

    def describe(self) -> str:
        """Return the verdict in words."""
        each = self.difference
        return (
            f"{self.verdict}: {each.value:+.4f} ({each.low:+.4f} to {each.high:+.4f}, n = {each.num_rows:,})"
        )


def compare_on_metric(
    metric: str,
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> MetricDifference:
    """Return the difference of two models in a metric, by a bootstrap in which both have the same rows.

    `first` and `second` are probabilities (N, K); the others are as for `metric_under_noise`.

    >>> labels = np.arange(300) % 3
    >>> right, blind = 0.7 * np.eye(3)[labels] + 0.1, np.full((300, 3), 1 / 3)
    >>> compare_on_metric("log_loss", labels, right, blind).verdict
    'better'
    """
    choose("metric", metric, METRICS)
    check_confidence(confidence)
    given, one = check_scored(labels, first)
    _, other = check_scored(labels, second)
    same = np.eye(one.shape[1])

    def difference(rows: NDArray[np.intp] | slice, _: float | None = None) -> Matrix:
        scores = [_score(metric, given[rows], each[rows], same) for each in (one, other)]
        return np.array([scores[0] - scores[1]])

    together = np.arange(len(given)) if groups is None else group_numbers(groups, len(given))
    spread = bootstrap_spread(difference, together, None, seed)
    value, half = difference(slice(None))[0], NormalDist().inv_cdf((1 + confidence) / 2) * spread[0]
    return MetricDifference(
        metric=metric,
        difference=Estimate(
            value=float(value), low=float(value - half), high=float(value + half), num_rows=len(given)
        ),
    )


def _score(metric: str, labels: Labels, pred_probs: Matrix, U: Matrix) -> float:
    """Return the metric where a row counts for class y with weight U[label, y]."""
    of_confusion = METRICS[metric].of_confusion
    if of_confusion is not None:
        return of_confusion(U.T @ confusion_counts(labels, pred_probs.argmax(axis=1), len(U)))
    if metric == "log_loss":
        return float((U[labels] * -floored_log(pred_probs)).sum(axis=1).mean())
    weights = U[labels]
    return _mean_auc(pred_probs, weights, 1 - weights, own=(weights * (1 - weights)).sum(axis=0))


def _true_scores(metric: str, labels: Labels, pred_probs: Matrix, T: Matrix) -> Matrix:
    """Return the true metric at each of SEEN, or only under independent errors if not of the confusion."""
    of_confusion = METRICS[metric].of_confusion
    if of_confusion is None:
        return np.array([_score(metric, labels, pred_probs, np.linalg.pinv(T).astype(np.float64))])
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
    return _mean_auc(T, joint, shares[:, np.newaxis] - joint, own=np.zeros(len(T)))


def _mean_auc(scores: Matrix, positive: Matrix, negative: Matrix, *, own: Matrix) -> float:
    """Return the mean over classes of the weighted share of pairs in order; `own` (K,) are no pairs."""
    values = []
    for k in range(scores.shape[1]):
        order = np.argsort(scores[:, k], kind="stable")
        new = np.append(True, np.diff(scores[order, k]) != 0).cumsum() - 1
        up, down = (np.bincount(new, each[order, k]) for each in (positive, negative))
        if min(up.sum(), down.sum()) > 0:
            ordered = (up * (down.cumsum() - down / 2)).sum() - own[k] / 2
            values.append(ordered / (up.sum() * down.sum() - own[k]))
    return float(np.mean(values)) if values else 0.5


def _auc_on_given(
    labels: Labels, pred_probs: Matrix, together: NDArray[np.intp] | None, confidence: float
) -> Estimate:
    from scipy.stats import rankdata

    N, K = pred_probs.shape
    influence, values = np.zeros(N), []
    for k in range(K):
        is_class = labels == k
        P, Q = int(is_class.sum()), int((~is_class).sum())
        if not P or not Q:
            continue
        ranks = rankdata(pred_probs[:, k])
        own = np.empty(N)
        own[is_class], own[~is_class] = (rankdata(pred_probs[each, k]) for each in (is_class, ~is_class))
        # share of the other kind that a row is in order with
        ordered = np.where(is_class, (ranks - own) / Q, 1 - (ranks - own) / P)
        auc = float(ordered[is_class].mean())
        influence += (ordered - auc) * np.where(is_class, N / P, N / Q)
        values.append(auc)
    if not values:
        return Estimate(value=0.5, low=0.0, high=1.0, num_rows=N)
    value = float(np.mean(values))
    of_mean = mean_of_rows(influence / len(values), groups=together, confidence=confidence)
    return _on_log_odds(value, (of_mean.high - of_mean.low) / 2, N)


def _on_log_odds(value: float, half: float, num_rows: int) -> Estimate:
    """Return the estimate with an interval that stays inside 0..1; one more row of error at the ends."""
    inside = float(np.clip(value, 1 / (num_rows + 1), 1 - 1 / (num_rows + 1)))
    center, step = np.log(inside / (1 - inside)), max(half, 1 / num_rows) / (inside * (1 - inside))
    low, high = (float(1 / (1 + np.exp(-each))) for each in (center - step, center + step))
    return Estimate(value=value, low=min(low, value), high=max(high, value), num_rows=num_rows)


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
