"""How well each label fits its row: one number a row, low is suspicious. N rows, K classes.

The adaptive score (noise/adaptive.py), and by name the three of cleanlab 2.9.0's
`rank.get_label_quality_scores`, to the last bit, without a second array of the size of pred_probs.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from kiyome.errors import InputError
from kiyome.noise.adaptive import ADAPTIVE, judge_labels, quality
from kiyome.noise.arrays import Labels, Numbers, check_arrays, known, row_blocks
from kiyome.noise.confident_joint import mean_self_confidence

TINY = 1e-6


def label_quality(
    labels: ArrayLike, pred_probs: ArrayLike, *, method: str = "adaptive", adjust: bool = False
) -> Numbers:
    """One score (N,) a row, in 0..1: the lower, the less the given label fits the prediction.

    Parameters
    ----------
    labels
        (N,) given labels, whole numbers from 0 to K-1.
    pred_probs
        (N, K) out-of-fold probabilities, rows sum to one.
    method
        "adaptive": the chance that the given label is right, by the noise that these very arrays show; rows
        of equal chance are told apart by their suspicion, within 0.001.
        "self_confidence": the probability of the given label.
        "normalized_margin": that minus the largest probability of another class, brought to 0..1.
        "confidence_weighted_entropy": falls with entropy over self-confidence.
    adjust
        Take each class's confident threshold from its column first, so that classes which the model is less
        sure of are not suspected more. For self-confidence and margin only.

    Raises
    ------
    InputError
        An unknown method; `adjust` with a method that has no adjusted form; arrays that break a stated rule.

    Notes
    -----
    No fixed score is best everywhere, so the default adapts; docs/noise.md says how, and where it fails.
    Its scores depend on all rows, the others' (unadjusted) on their own row alone. The order of rows does not
    depend on the temperature of pred_probs.

    Examples
    --------
    >>> label_quality([0, 1], [[0.9, 0.1], [0.7, 0.3]], method="self_confidence")
    array([0.9, 0.3])
    >>> label_quality([0, 1], [[0.9, 0.1], [0.7, 0.3]], method="normalized_margin")
    array([0.9, 0.3])
    """
    score = known("method", method, {ADAPTIVE: None, **METHODS})
    if adjust and score not in (self_confidence, normalized_margin):
        raise InputError(
            f"The method {method} has no adjusted form.",
            came="adjust=True",
            remedy="Leave adjust out, or take the method self_confidence or normalized_margin.",
        )
    labels, pred_probs = check_arrays(labels, pred_probs)
    if score is None:
        return quality(judge_labels(labels, pred_probs))
    thresholds = mean_self_confidence(labels, pred_probs) if adjust else None
    return score_rows(score, labels, pred_probs, thresholds)


def score_rows(
    score: "Score", labels: Labels, pred_probs: Numbers, thresholds: Numbers | None = None
) -> Numbers:
    """A score of arrays that were checked before, block by block; adjusted where thresholds are given."""
    blocks = row_blocks(pred_probs)
    if thresholds is None:
        return np.concatenate([score(labels[block], pred_probs[block]) for block in blocks])
    return np.concatenate([score(labels[block], adjusted(pred_probs[block], thresholds)) for block in blocks])


def adjusted(pred_probs: Numbers, thresholds: Numbers) -> Numbers:
    """pred_probs less each class's threshold, raised to be positive, rows again at one."""
    shifted: Numbers = pred_probs - thresholds + thresholds.max()
    shifted /= shifted.sum(axis=1, keepdims=True)
    return shifted


def self_confidence(labels: Labels, pred_probs: Numbers) -> Numbers:
    """The probability (N,) of the given label.

    >>> self_confidence(np.array([1]), np.array([[0.5, 0.25, 0.25]]))
    array([0.25])
    """
    return pred_probs[np.arange(len(labels)), labels]


def normalized_margin(labels: Labels, pred_probs: Numbers) -> Numbers:
    """Self-confidence less the best other probability, from -1..1 to 0..1: 0.5 is a tie.

    >>> normalized_margin(np.array([1]), np.array([[0.5, 0.25, 0.25]]))
    array([0.375])
    """
    others = pred_probs.copy()
    others[np.arange(len(labels)), labels] = -np.inf
    margins: Numbers = (self_confidence(labels, pred_probs) - others.max(axis=1) + 1) / 2
    return margins


def confidence_weighted_entropy(labels: Labels, pred_probs: Numbers) -> Numbers:
    """log(1 + r) / r, where r is the normalized entropy over the self-confidence.

    >>> confidence_weighted_entropy(np.array([0, 1]), np.array([[0.5, 0.5], [0.5, 0.5]])).round(3)
    array([0.549, 0.549])
    """
    from scipy.special import xlogy  # slow to import, and only this score needs it

    entropy = -xlogy(pred_probs, pred_probs).sum(axis=1) / np.log(pred_probs.shape[1])
    ratio = entropy / self_confidence(labels, pred_probs).clip(min=TINY)
    scores: Numbers = np.log(ratio + 1) / ratio.clip(min=TINY)
    return scores


Score = Callable[[Labels, Numbers], Numbers]

METHODS: dict[str, Score] = {
    "self_confidence": self_confidence,
    "normalized_margin": normalized_margin,
    "confidence_weighted_entropy": confidence_weighted_entropy,
}
