"""The rows with a wrong label: a mask, or indices with the most suspicious row first. N rows, K classes.

The adaptive mask (noise/adaptive.py), and by name the seven filters of cleanlab 2.9.0's
`filter.find_label_issues`, row for row. All of these but the two `low_` ones skip a row whose label is,
within 1e-6, the model's prediction.

Ties. Where equal values lie on both sides of a cut, numpy's default sort decides which fall under it, as in
cleanlab: such rows may swap when the table is reordered. Apart from that and from rounding of sums, results
do not depend on row order; equally suspicious rows keep that of the table in a ranking.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import ArrayLike

from kiyome.checks import Labels, Mask, Numbers, check_arrays, check_chunks, rows_by_class
from kiyome.errors import InputError, choose
from kiyome.noise.adaptive import (
    ADAPTIVE,
    AdaptiveFit,
    adaptive_mask,
    adaptive_quality,
    check_precision,
    fit_adaptive,
    fit_top_classes,
    precision_note,
)
from kiyome.noise.confident_joint import NO_CLASS, Counts
from kiyome.noise.label_quality import label_quality, normalized_margin, self_confidence
from kiyome.noise.pruning import Chunks, Run, flag_suspects, lowest, prune_counts
from kiyome.noise.top_classes import SampledTopClasses, TopClasses, merge_sampled, read_sampled
from kiyome.reading.plausible import check_class_order

FEW_AGREE = 0.5  # share of labels that predictions agree with; where most agree, columns are the classes


def find_label_issues(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    method: str = "adaptive",
    precision: float | None = None,
    frac_noise: float = 1.0,
    min_examples_per_class: int = 1,
) -> Mask:
    """Return a mask (N,), true where the given label is probably wrong.

    Parameters
    ----------
    labels
        (N,) given labels, whole numbers from 0 to K-1. Classes may be absent.
    pred_probs
        (N, K) out-of-fold probabilities, rows sum to one.
    method
        "adaptive": the rows of highest probability to be wrong, as many as give the best expected F1, or as
        keep the given precision. A warning says if columns seem to be in another order than the classes.
        "prune_by_noise_rate": for each pair of classes, as many rows as the confident joint counts there,
        those where the other class leads the given one by most.
        "prune_by_class": for each class, as many rows as the joint counts as wrong, least confident first.
        "both": rows that both of these flag.
        "confident_learning": rows confidently in another class than the given one.
        "predicted_neq_given": rows whose likeliest class is not the given one.
        "low_self_confidence", "low_normalized_margin": the rows of lowest label quality, as many as
        "confident_learning" flags.
    precision
        Flag as many rows as possible while about this share of them is wrong, by careful probabilities;
        perhaps none. Only for "adaptive". Predictions that agree with at most 80 % of the given labels raise
        a warning that it may not be kept.
    frac_noise
        Flag only about this share of the errors that the joint counts. For "prune_..." and "both".
    min_examples_per_class
        At least this many rows of each class count as right, and a class with no more rows than that is
        skipped (so is a class with a single row, always). For "prune_..." and "both".

    Raises
    ------
    InputError
        An unknown method; an option that the method does not have; a precision outside 0..1, or with
        predictions that agree with fewer than half of the labels; unsuitable arrays.

    Notes
    -----
    The filter trades precision for recall. On human labels, "prune_by_noise_rate", cleanlab's default, is
    precise and misses many errors, "predicted_neq_given" finds most at lower precision; docs/noise.md has the
    figures. Not good for pred_probs of rows that the model was trained on.

    Examples
    --------
    >>> pred_probs = [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.95, 0.05]]
    >>> find_label_issues([0, 0, 1, 1, 1], pred_probs)
    array([False, False, False, False,  True])
    """
    return find_label_issues_in_chunks(
        [(labels, pred_probs)],
        method=method,
        precision=precision,
        frac_noise=frac_noise,
        min_examples_per_class=min_examples_per_class,
    )


def find_label_issues_in_chunks(
    chunks: Iterable[tuple[ArrayLike, ArrayLike]],
    *,
    method: str = "adaptive",
    precision: float | None = None,
    frac_noise: float = 1.0,
    min_examples_per_class: int = 1,
    run: Run = map,
) -> Mask:
    """Return the mask (N,) of a table in chunks; the same as `find_label_issues` of all rows at once.

    Parameters
    ----------
    chunks
        Pairs (labels, pred_probs) of consecutive rows, all with the same K columns and type. Arrays may be
        memory-mapped; only order N and K x K stay in memory.
    method, precision, frac_noise, min_examples_per_class
        As for `find_label_issues`.
    run
        `map`, or a function like it that calls the functions which read chunks, such as an executor's `map`.

    Raises
    ------
    InputError
        As `find_label_issues`; chunks of different types or numbers of classes.

    Examples
    --------
    >>> first = [0, 0, 1], [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9]]
    >>> second = [1, 1], [[0.2, 0.8], [0.95, 0.05]]
    >>> find_label_issues_in_chunks([first, second], method="prune_by_noise_rate")
    array([False, False, False, False,  True])
    """
    check_method(method, precision, frac_noise, min_examples_per_class)
    if method == ADAPTIVE:
        rows = merge_sampled(list(run(read_sampled, *check_chunks(chunks))))
        return flag_adaptive(rows, precision, stacklevel=5)
    return flag_by_table(Chunks.read(chunks, run=run), method, frac_noise, min_examples_per_class)


def flag_by_table(table: Chunks, method: str, frac_noise: float, min_examples: int) -> Mask:
    """Return the mask (N,) of a table that is read in chunks, by one of cleanlab's filters."""
    if method in PLAIN_METHODS:
        return PLAIN_METHODS[method](table)
    counts = prune_counts(table.joint().calibrated(), frac_noise=frac_noise, min_examples=min_examples)
    flagged = PRUNE_METHODS[method](table, counts, min_examples)
    return flagged & ~table.rows.prefers_given


def flag_adaptive(rows: SampledTopClasses, precision: float | None, *, stacklevel: int = 4) -> Mask:
    """Return the mask (N,) of one read of all rows by the adaptive method."""
    return _adaptive(fit_top_classes(rows), precision, stacklevel=stacklevel)


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
    """Return indices of the rows that `find_label_issues` flags, the most suspicious first.

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
    if method == score == ADAPTIVE and not adjust:  # both from one fit
        check_method(method, precision, frac_noise, min_examples_per_class)
        fit = fit_adaptive(*check_arrays(labels, pred_probs))
        flagged, scores = _adaptive(fit, precision, stacklevel=3), adaptive_quality(fit)
    else:
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
    """Raise where there is no such method, or where it has no such precision."""
    choose("method", method, (ADAPTIVE, *METHODS))
    if precision is None:
        return
    if method != ADAPTIVE:
        raise InputError(
            f"The method {method} has no precision (precision={precision}).",
            expected=f"Only the method {ADAPTIVE} has one.",
            remedy="Leave one of them out.",
        )
    check_precision(precision)


def _adaptive(fit: AdaptiveFit, precision: float | None, *, stacklevel: int) -> Mask:
    flagged = adaptive_mask(fit, precision=precision)
    for note in (None if precision is None else precision_note(fit), _misread_note(fit)):
        if note is not None:
            warnings.warn(note, stacklevel=stacklevel)  # at the line that called us
    return flagged


def _misread_note(fit: AdaptiveFit) -> str | None:
    """Return what says that the columns of pred_probs are not the classes; None where nothing does."""
    if fit.accuracy_on_given >= FEW_AGREE:
        return None
    (given, other), (given_log, other_log) = fit.sample.classes[:2], fit.sample.logs[:2]
    predicted, num_classes = np.where(given_log >= other_log, given, other), fit.sample.num_classes
    same = np.ptp(predicted) == 0 and np.ptp(np.maximum(given_log, other_log)) < 1e-6
    if same and np.ptp(given) > 0:
        return (
            f"All rows of pred_probs prefer class {predicted[0]} by the same probability, so they say nothing"
            " about labels. Expected out-of-fold predictions of a trained model."
        )
    counts = np.bincount(predicted * num_classes + given, minlength=num_classes**2)
    try:
        check_class_order(
            counts.reshape(num_classes, -1), [*map(str, range(num_classes))], source="pred_probs"
        )
    except InputError as error:
        return str(error)
    return None


def prune_by_noise_rate(chunks: Chunks, counts: Counts, min_examples: int) -> Mask:
    """Flag for each (true j, given k) the counts[j, k] rows of k where j leads k by most."""
    wanted = counts * _is_pruned(chunks.rows, min_examples)
    np.fill_diagonal(wanted, 0)
    return flag_suspects(chunks.rows, chunks.suspects(wanted), chunks.leads)


def prune_by_class(chunks: Chunks, counts: Counts, min_examples: int) -> Mask:
    """Flag for each given class the least confident rows, as many as are not on the diagonal."""
    rows = chunks.rows
    flagged = np.zeros(len(rows.given), dtype=np.bool_)
    is_pruned = _is_pruned(rows, min_examples)
    for k, of_class in enumerate(rows_by_class(rows.given, rows.num_classes)):
        if is_pruned[k]:
            num_wrong = max(len(of_class) - counts[k, k], 0)
            flagged[of_class[lowest(rows.given_probs[of_class], num_wrong)]] = True
    return flagged


def both(chunks: Chunks, counts: Counts, min_examples: int) -> Mask:
    """Flag rows that pruning by noise rate and pruning by class both flag."""
    flagged = prune_by_class(chunks, counts, min_examples)
    flagged &= prune_by_noise_rate(chunks, counts, min_examples)
    return flagged


def confident_learning(chunks: Chunks) -> Mask:
    """Flag rows confidently in another class than the given one, unless the model predicts the given one."""
    found, rows = chunks.confident_classes(), chunks.rows
    flagged: Mask = (found != NO_CLASS) & (found != rows.given) & ~rows.prefers_given
    return flagged


def predicted_neq_given(chunks: Chunks) -> Mask:
    """Flag rows whose likeliest class is not the given one, by more than 1e-6."""
    return ~chunks.rows.prefers_given


def low_self_confidence(chunks: Chunks) -> Mask:
    """Flag the rows of lowest self-confidence, as many as confident learning flags."""
    return _low(self_confidence(chunks.rows), confident_learning(chunks))


def low_normalized_margin(chunks: Chunks) -> Mask:
    """Flag the rows of lowest normalized margin, as many as confident learning flags."""
    return _low(normalized_margin(chunks.rows), confident_learning(chunks))


def _low(scores: Numbers, confident_issues: Mask) -> Mask:
    flagged = np.zeros(len(scores), dtype=np.bool_)
    flagged[lowest(scores, confident_issues.sum())] = True
    return flagged


def _is_pruned(rows: TopClasses, min_examples: int) -> Mask:
    # a single row is never pruned, whatever min_examples is
    is_pruned: Mask = rows.label_counts > max(min_examples, 1)
    return is_pruned


def check_method(method: str, precision: float | None, frac_noise: float, min_examples: int) -> None:
    """Raise where there is no such method, or where it does not have these options."""
    check_filter(method, precision)
    if method not in PRUNE_METHODS and (frac_noise != 1.0 or min_examples != 1):
        raise InputError(
            f"The method {method} has no frac_noise and no min_examples_per_class (frac_noise={frac_noise},"
            f" min_examples_per_class={min_examples}).",
            expected=f"Only {', '.join(PRUNE_METHODS)} have them.",
            remedy="Leave them out, or use one of these methods.",
        )
    if not 0 <= frac_noise <= 1 or min_examples < 0:
        raise InputError(
            f"frac_noise={frac_noise}, min_examples_per_class={min_examples}: one is out of its range.",
            expected="Expected frac_noise in 0..1 and min_examples_per_class of 0 or more.",
            remedy="Correct the number.",
        )


PRUNE_METHODS: dict[str, Callable[[Chunks, Counts, int], Mask]] = {
    "prune_by_noise_rate": prune_by_noise_rate,
    "prune_by_class": prune_by_class,
    "both": both,
}
PLAIN_METHODS: dict[str, Callable[[Chunks], Mask]] = {
    "confident_learning": confident_learning,
    "predicted_neq_given": predicted_neq_given,
    "low_self_confidence": low_self_confidence,
    "low_normalized_margin": low_normalized_margin,
}
METHODS = {**PRUNE_METHODS, **PLAIN_METHODS}
