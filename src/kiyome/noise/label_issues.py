"""Which rows carry a wrong label: a mask, or indices with the most suspicious row first. N rows, K classes.

The adaptive mask (noise/adaptive.py), and by name the seven filters of cleanlab 2.9.0's
`filter.find_label_issues`, row for row. Of these, every filter but the two `low_` ones leaves a row alone
when its label is, within 1e-6, the model's own choice.

Ties. Where equal values straddle a cut, which of them fall under it is decided by numpy's default sort, as
in cleanlab: such rows may swap when the table is reordered. All else, rounding of sums aside, is free of row
order, but for the order of equally suspicious rows in a ranking, which is that of the table.
"""

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from kiyome.errors import InputError
from kiyome.noise.adaptive import ADAPTIVE, check_precision, issues, judge_labels, precision_note
from kiyome.noise.arrays import Labels, Mask, Numbers, check_arrays, known, rows_by_class
from kiyome.noise.confident_joint import (
    NOWHERE,
    SLACK,
    Counts,
    calibrated,
    count_placed,
    mean_self_confidence,
    place_rows,
)
from kiyome.noise.label_quality import (
    Score,
    label_quality,
    normalized_margin,
    score_rows,
    self_confidence,
)


def find_label_issues(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    method: str = "adaptive",
    precision: float | None = None,
    frac_noise: float = 1.0,
    min_examples_per_class: int = 1,
) -> Mask:
    """A mask (N,), true where the given label is probably wrong.

    Parameters
    ----------
    labels
        (N,) given labels, whole numbers from 0 to K-1. Classes may be absent.
    pred_probs
        (N, K) out-of-fold probabilities, rows sum to one.
    method
        "adaptive": the rows of highest chance to be wrong, as many as give the best expected F1, or as keep
        the precision that is asked for.
        "prune_by_noise_rate": for each pair of classes, as many rows as the confident joint counts there,
        those where the other class leads the given one by most.
        "prune_by_class": for each class, as many rows as the joint counts as wrong, least confident first.
        "both": rows that both of these flag.
        "confident_learning": rows confidently placed in another class than the given one.
        "predicted_neq_given": rows whose likeliest class is not the given one.
        "low_self_confidence", "low_normalized_margin": the rows of lowest label quality, as many as
        "confident_learning" flags.
    precision
        Flag as many rows as possible while about this share of them is wrong, by a careful reading of the
        chances; perhaps none. Only for "adaptive". With predictions that agree with at most 80 % of the given
        labels a warning says that it may not be kept.
    frac_noise
        Flag only about this share of the errors that the joint counts. For "prune_..." and "both".
    min_examples_per_class
        At least this many rows of each class count as right, and a class with no more rows than that is
        left alone (so is a class with a single row, always). For "prune_..." and "both".

    Raises
    ------
    InputError
        An unknown method; an option that the method does not have; a precision outside 0..1, or asked of
        predictions that agree with fewer than half of the labels; arrays that break a stated rule.

    Notes
    -----
    The filter is a dial between precision and recall, not a fact. On labels that people gave,
    "prune_by_noise_rate", cleanlab's default, is precise and misses many errors, "predicted_neq_given" finds
    most at lower precision; docs/noise.md has the figures. Not good for: pred_probs of rows that the model
    was trained on.

    Examples
    --------
    >>> pred_probs = [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.95, 0.05]]
    >>> find_label_issues([0, 0, 1, 1, 1], pred_probs)
    array([False, False, False, False,  True])
    """
    check_filter(method, precision)
    _check_options(method, frac_noise, min_examples_per_class)
    labels, pred_probs = check_arrays(labels, pred_probs)
    if method == ADAPTIVE:
        return _adaptive(labels, pred_probs, precision)
    if method in PLAIN_METHODS:
        return PLAIN_METHODS[method](labels, pred_probs)
    joint = calibrated(_raw_joint(labels, pred_probs), labels)
    counts = prune_counts(joint, frac_noise=frac_noise, min_examples=min_examples_per_class)
    flagged = PRUNE_METHODS[method](labels, pred_probs, counts, min_examples_per_class)
    return flagged & ~label_is_choice(labels, pred_probs)


def rank_label_issues(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    method: str = "adaptive",
    score: str = "adaptive",
    adjust: bool = False,
    precision: float | None = None,
    frac_noise: float = 1.0,
    min_examples_per_class: int = 1,
) -> Labels:
    """Indices of the rows that `find_label_issues` flags, the most suspicious first.

    Parameters
    ----------
    labels, pred_probs, method, precision, frac_noise, min_examples_per_class
        As for `find_label_issues`.
    score, adjust
        The method and `adjust` of `label_quality`; its lowest scores come first, equal ones in row order.

    Raises
    ------
    InputError
        As `find_label_issues` and `label_quality`.

    Examples
    --------
    >>> pred_probs = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.95, 0.05], [0.05, 0.95]]
    >>> rank_label_issues([0, 0, 1, 1, 1, 0], pred_probs, method="predicted_neq_given")
    array([4, 5])
    """
    flagged = find_label_issues(
        labels,
        pred_probs,
        method=method,
        precision=precision,
        frac_noise=frac_noise,
        min_examples_per_class=min_examples_per_class,
    )
    scores = label_quality(labels, pred_probs, method=score, adjust=adjust)
    rows = np.flatnonzero(flagged)
    ranked: Labels = rows[np.argsort(scores[rows], kind="stable")]
    return ranked


def check_filter(method: str, precision: float | None) -> None:
    """Raise where there is no such method, or where it knows no such precision."""
    known("method", method, {ADAPTIVE: None, **METHODS})
    if precision is not None and method != ADAPTIVE:
        raise InputError(
            f"A precision can be asked of the method {ADAPTIVE} only.",
            came=f"precision={precision} with {method}",
            remedy="Leave one of them out.",
        )
    if precision is not None:
        check_precision(precision)


def _adaptive(labels: Labels, pred_probs: Numbers, precision: float | None) -> Mask:
    judged = judge_labels(labels, pred_probs)
    flagged = issues(judged, precision=precision)
    note = None if precision is None else precision_note(judged)
    if note is not None:
        warnings.warn(note, stacklevel=3)  # at the line of our caller's caller
    return flagged


def prune_counts(joint: Counts, *, frac_noise: float, min_examples: int) -> Counts:
    """How many rows (K, K) [true, given] to flag off the diagonal, and to keep on it.

    Where fewer than `min_examples` rows of a given class count as right, the rest of its column pays in
    equal parts. Fractions are cut off, not rounded, as in cleanlab.
    """
    # columns lie together in memory: their sums then add up in cleanlab's order
    counts = np.asfortranarray(joint)
    kept = np.maximum(counts.diagonal(), min_examples)
    num_sources = np.maximum(np.count_nonzero(counts, axis=0) - 1.0, 1.0)
    lowered = np.maximum(counts - (kept - counts.diagonal()) / num_sources, 0)
    np.fill_diagonal(lowered, kept)
    reduced = lowered * frac_noise
    np.fill_diagonal(reduced, kept)
    np.fill_diagonal(reduced, kept + (lowered - reduced).sum(axis=0))
    whole: Counts = reduced.astype(np.int64)
    return whole


def prune_by_noise_rate(labels: Labels, pred_probs: Numbers, counts: Counts, min_examples: int) -> Mask:
    """For each (true j, given k), the counts[j, k] rows of k where j leads k by most."""
    flagged = np.zeros(len(labels), dtype=np.bool_)
    for k, rows in _classes_to_prune(labels, counts, min_examples):
        for j in np.flatnonzero(counts[:, k] > 0):
            if j != k:
                lead = pred_probs[rows, j] - pred_probs[rows, k]
                flagged[rows[_lowest(-lead, counts[j, k])]] = True
    return flagged


def prune_by_class(labels: Labels, pred_probs: Numbers, counts: Counts, min_examples: int) -> Mask:
    """For each given class, the rows that trust it least, as many as are not on the diagonal."""
    flagged = np.zeros(len(labels), dtype=np.bool_)
    for k, rows in _classes_to_prune(labels, counts, min_examples):
        num_wrong = max(len(rows) - counts[k, k], 0)
        flagged[rows[_lowest(pred_probs[rows, k], num_wrong)]] = True
    return flagged


def both(labels: Labels, pred_probs: Numbers, counts: Counts, min_examples: int) -> Mask:
    """Rows that pruning by noise rate and pruning by class both flag."""
    flagged = prune_by_class(labels, pred_probs, counts, min_examples)
    flagged &= prune_by_noise_rate(labels, pred_probs, counts, min_examples)
    return flagged


def confident_learning(labels: Labels, pred_probs: Numbers) -> Mask:
    """Rows confidently placed off the diagonal of the joint, unless the label is the model's choice."""
    places = place_rows(pred_probs, mean_self_confidence(labels, pred_probs))
    flagged: Mask = (places != NOWHERE) & (places != labels) & ~label_is_choice(labels, pred_probs)
    return flagged


def predicted_neq_given(labels: Labels, pred_probs: Numbers) -> Mask:
    """Rows whose likeliest class is another than the given one, by more than 1e-6."""
    return ~label_is_choice(labels, pred_probs)


def low_self_confidence(labels: Labels, pred_probs: Numbers) -> Mask:
    """The rows of lowest self-confidence, as many as confident learning flags."""
    return _low(self_confidence, labels, pred_probs)


def low_normalized_margin(labels: Labels, pred_probs: Numbers) -> Mask:
    """The rows of lowest normalized margin, as many as confident learning flags."""
    return _low(normalized_margin, labels, pred_probs)


def label_is_choice(labels: Labels, pred_probs: Numbers) -> Mask:
    """Rows whose label would be the argmax if its probability were 1e-6 larger; no copy is made."""
    choices = pred_probs.argmax(axis=1)
    raised = self_confidence(labels, pred_probs) + SLACK
    best = self_confidence(choices, pred_probs)
    # argmax takes the first of equals, so an equal best later on yields to the label
    is_choice: Mask = (choices == labels) | (raised > best) | ((raised == best) & (labels < choices))
    return is_choice


def _raw_joint(labels: Labels, pred_probs: Numbers) -> Counts:
    places = place_rows(pred_probs, mean_self_confidence(labels, pred_probs))
    return count_placed(labels, places, pred_probs)


def _low(score: Score, labels: Labels, pred_probs: Numbers) -> Mask:
    flagged = np.zeros(len(labels), dtype=np.bool_)
    num_issues = confident_learning(labels, pred_probs).sum()
    flagged[_lowest(score_rows(score, labels, pred_probs), num_issues)] = True
    return flagged


def _lowest(values: Numbers, num: int) -> Labels:
    # numpy's default sort, not a stable one: cleanlab's, so that ties at the cut fall the same way
    return np.argsort(values)[:num]


def _classes_to_prune(labels: Labels, counts: Counts, min_examples: int) -> list[tuple[int, Labels]]:
    # a single row can never be pruned, whatever min_examples says
    rows_of = enumerate(rows_by_class(labels, len(counts)))
    return [(k, rows) for k, rows in rows_of if len(rows) > max(min_examples, 1)]


def _check_options(method: str, frac_noise: float, min_examples: int) -> None:
    if method not in PRUNE_METHODS and (frac_noise != 1.0 or min_examples != 1):
        raise InputError(
            f"frac_noise and min_examples_per_class belong to {', '.join(PRUNE_METHODS)}.",
            came=f"frac_noise={frac_noise}, min_examples_per_class={min_examples} with {method}",
            remedy="Leave them out, or take one of these methods.",
        )
    if not 0 <= frac_noise <= 1 or min_examples < 0:
        raise InputError(
            "frac_noise lies in 0..1 and min_examples_per_class is not negative.",
            came=f"frac_noise={frac_noise}, min_examples_per_class={min_examples}",
            remedy="Correct the number.",
        )


PRUNE_METHODS: dict[str, Callable[[Labels, Numbers, Counts, int], Mask]] = {
    "prune_by_noise_rate": prune_by_noise_rate,
    "prune_by_class": prune_by_class,
    "both": both,
}
PLAIN_METHODS: dict[str, Callable[[Labels, Numbers], Mask]] = {
    "confident_learning": confident_learning,
    "predicted_neq_given": predicted_neq_given,
    "low_self_confidence": low_self_confidence,
    "low_normalized_margin": low_normalized_margin,
}
METHODS = {**PRUNE_METHODS, **PLAIN_METHODS}
