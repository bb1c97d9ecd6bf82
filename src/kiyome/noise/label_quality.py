"""Label quality: one score a row, low where the label is suspicious. N rows, K classes.

The adaptive score (noise/adaptive.py), and by name the three of cleanlab 2.9.0's
`rank.get_label_quality_scores`, to the last bit, without a second array of the size of pred_probs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from kiyome.checks import Labels, Numbers, check_arrays
from kiyome.errors import InputError, choose
from kiyome.noise.adaptive import ADAPTIVE, adaptive_quality, fit_adaptive
from kiyome.noise.confident_joint import mean_self_confidence
from kiyome.noise.top_classes import TopClasses, likeliest, over_blocks, read_top_classes

TINY = 1e-6


def label_quality(
    labels: ArrayLike, pred_probs: ArrayLike, *, method: str = "adaptive", adjust: bool = False
) -> Numbers:
    """Return one score (N,) a row, in 0..1: the lower, the less the given label fits the prediction.

    Parameters
    ----------
    labels
        (N,) given labels, whole numbers from 0 to K-1.
    pred_probs
        (N, K) out-of-fold probabilities, rows sum to one.
    method
        "adaptive": the probability that the given label is right under a noise model fitted on these arrays;
        rows of equal probability are ordered by their suspicion, within 0.001.
        "self_confidence": the probability of the given label.
        "normalized_margin": that minus the largest probability of another class, scaled to 0..1.
        "confidence_weighted_entropy": falls with entropy over self-confidence.
    adjust
        Subtract each class's confident threshold from its column first, so that classes which the model is
        less sure of are not suspected more. For self-confidence and margin only.

    Raises
    ------
    InputError
        An unknown method; `adjust` with a method that has no adjusted form; unsuitable arrays.

    Notes
    -----
    No fixed score is best everywhere, so the default adapts; docs/noise.md explains how, and where it fails.
    Its scores depend on all rows, the other scores (unadjusted) on their own row alone. The order of rows
    does not depend on the temperature of pred_probs.

    Examples
    --------
    >>> label_quality([0, 1], [[0.9, 0.1], [0.7, 0.3]], method="self_confidence")
    array([0.9, 0.3])
    >>> label_quality([0, 1], [[0.9, 0.1], [0.7, 0.3]], method="normalized_margin")
    array([0.9, 0.3])
    """
    choose("method", method, (ADAPTIVE, *METHODS))
    if adjust and method not in TOP_SCORES:
        raise InputError(
            f"adjust=True: the method {method} has no adjusted form.",
            remedy="Leave adjust out, or use the method self_confidence or normalized_margin.",
        )
    labels, pred_probs = check_arrays(labels, pred_probs)
    if method == ADAPTIVE:
        return adaptive_quality(fit_adaptive(labels, pred_probs))
    rows = read_top_classes(labels, pred_probs)
    if method == ENTROPY:
        return confidence_weighted_entropy(rows, pred_probs)
    if adjust:
        rows = adjusted_rows(labels, pred_probs, mean_self_confidence(rows))
    return TOP_SCORES[method](rows)


def adjusted_rows(labels: Labels, pred_probs: Numbers, thresholds: Numbers) -> TopClasses:
    """Return the top classes of pred_probs less each class's threshold, raised above zero, rows at one."""
    classes = np.empty((len(labels), 2), dtype=np.min_scalar_type(pred_probs.shape[1] - 1))
    probs = np.empty(classes.shape, dtype=np.result_type(pred_probs, thresholds))

    def adjust(block: slice) -> None:
        shifted: Numbers = pred_probs[block] - thresholds + thresholds.max()
        shifted /= shifted.sum(axis=1, keepdims=True)
        classes[block], probs[block] = likeliest(labels[block], shifted, 2)

    over_blocks(adjust, pred_probs)
    return TopClasses(num_classes=pred_probs.shape[1], classes=classes, probs=probs)


def self_confidence(rows: TopClasses) -> Numbers:
    """Return the probability (N,) of the given label.

    >>> self_confidence(read_top_classes(np.array([1]), np.array([[0.5, 0.25, 0.25]])))
    array([0.25])
    """
    return rows.given_probs.copy()


def normalized_margin(rows: TopClasses) -> Numbers:
    """Return self-confidence less the best other probability, scaled from -1..1 to 0..1: 0.5 is a tie.

    >>> normalized_margin(read_top_classes(np.array([1]), np.array([[0.5, 0.25, 0.25]])))
    array([0.375])
    """
    margins: Numbers = (rows.given_probs - rows.probs[:, 1] + 1) / 2
    return margins


def confidence_weighted_entropy(rows: TopClasses, pred_probs: Numbers) -> Numbers:
    """Return log(1 + r) / r, where r is the normalized entropy over the self-confidence.

    >>> pred_probs = np.array([[0.5, 0.5], [0.5, 0.5]])
    >>> confidence_weighted_entropy(read_top_classes(np.array([0, 1]), pred_probs), pred_probs).round(3)
    array([0.549, 0.549])
    """
    from scipy.special import xlogy  # slow to import, and only this score needs it

    scores = np.empty(len(pred_probs), dtype=np.float64)

    def fill(block: slice) -> None:
        p = pred_probs[block]
        entropy = -xlogy(p, p).sum(axis=1) / np.log(p.shape[1])
        ratio = entropy / rows.given_probs[block].clip(min=TINY)
        scores[block] = np.log(ratio + 1) / ratio.clip(min=TINY)

    over_blocks(fill, pred_probs)
    return scores


ENTROPY = "confidence_weighted_entropy"
TOP_SCORES: dict[str, Callable[[TopClasses], Numbers]] = {
    "self_confidence": self_confidence,
    "normalized_margin": normalized_margin,
}
METHODS = (*TOP_SCORES, ENTROPY)
