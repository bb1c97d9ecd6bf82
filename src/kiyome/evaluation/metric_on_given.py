"""Metrics on given labels: their names and ranges, their intervals, the difference of two models."""

from __future__ import annotations

from collections.abc import Callable
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
from kiyome.evaluation.noisy_labels import bootstrap_spread


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
        scores = [weighted_score(metric, given[rows], each[rows], same) for each in (one, other)]
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


def weighted_score(metric: str, labels: Labels, pred_probs: Matrix, U: Matrix) -> float:
    """Return the metric where a row counts for class y with weight U[label, y]."""
    of_confusion = METRICS[metric].of_confusion
    if of_confusion is not None:
        return of_confusion(U.T @ confusion_counts(labels, pred_probs.argmax(axis=1), len(U)))
    if metric == "log_loss":
        return float((U[labels] * -floored_log(pred_probs)).sum(axis=1).mean())
    weights = U[labels]
    return mean_auc(pred_probs, weights, 1 - weights, own=(weights * (1 - weights)).sum(axis=0))


def mean_auc(scores: Matrix, positive: Matrix, negative: Matrix, *, own: Matrix) -> float:
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
