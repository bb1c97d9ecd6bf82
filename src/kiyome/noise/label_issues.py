"""Which rows carry a wrong label: a mask, or indices with the most suspicious row first. N rows, K classes.

The adaptive mask (noise/adaptive.py), and by name the seven filters of cleanlab 2.9.0's
`filter.find_label_issues`, row for row. Of these, every filter but the two `low_` ones leaves a row alone
when its label is, within 1e-6, the model's own choice.

Ties. Where equal values straddle a cut, which of them fall under it is decided by numpy's default sort, as
in cleanlab: such rows may swap when the table is reordered. All else, rounding of sums aside, is free of row
order, but for the order of equally suspicious rows in a ranking, which is that of the table.
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
    Judgement,
    check_precision,
    issues,
    judge_labels,
    judge_rows,
    precision_note,
    quality,
)
from kiyome.noise.chunks import Chunks, Run
from kiyome.noise.confident_joint import NOWHERE, Counts
from kiyome.noise.label_quality import label_quality, normalized_margin, self_confidence
from kiyome.noise.pruning import flag_suspects, lowest, prune_counts
from kiyome.noise.reading import KeptRows
from kiyome.noise.row_evidence import RowEvidence, merge_rows, read_rows


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
    """The mask (N,) of a table that comes in chunks; the same as `find_label_issues` of all rows at once.

    Parameters
    ----------
    chunks
        Pairs (labels, pred_probs) of consecutive rows, all with the same K columns and type. Arrays may be
        memory-mapped; order N is kept in memory, and K x K.
    method, precision, frac_noise, min_examples_per_class
        As for `find_label_issues`.
    run
        Who calls the functions that read chunks: `map`, or what behaves like it, such as the `map` of an
        executor.

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
        evidence = merge_rows(list(run(read_rows, *check_chunks(chunks))))
        return flag_adaptive(evidence, precision, stacklevel=5)
    return flag_by_table(Chunks.read(chunks, run=run), method, frac_noise, min_examples_per_class)


def flag_by_table(table: Chunks, method: str, frac_noise: float, min_examples: int) -> Mask:
    """The mask (N,) of a table that is read in chunks, by one of cleanlab's filters."""
    if method in PLAIN_METHODS:
        return PLAIN_METHODS[method](table)
    counts = prune_counts(table.joint().calibrated(), frac_noise=frac_noise, min_examples=min_examples)
    flagged = PRUNE_METHODS[method](table, counts, min_examples)
    return flagged & ~table.rows.prefers_given


def flag_adaptive(evidence: RowEvidence, precision: float | None, *, stacklevel: int = 4) -> Mask:
    """The mask (N,) of what one read of all rows left behind, by the adaptive method."""
    return _adaptive(judge_rows(evidence), precision, stacklevel=stacklevel)


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
    if method == score == ADAPTIVE and not adjust:  # both from one judgement
        check_method(method, precision, frac_noise, min_examples_per_class)
        judged = judge_labels(*check_arrays(labels, pred_probs))
        flagged, scores = _adaptive(judged, precision, stacklevel=3), quality(judged)
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
    """Raise where there is no such method, or where it knows no such precision."""
    choose("method", method, (ADAPTIVE, *METHODS))
    if precision is not None and method != ADAPTIVE:
        raise InputError(
            f"A precision can be asked of the method {ADAPTIVE} only.",
            came=f"precision={precision} with {method}",
            remedy="Leave one of them out.",
        )
    if precision is not None:
        check_precision(precision)


def _adaptive(judged: Judgement, precision: float | None, *, stacklevel: int) -> Mask:
    flagged = issues(judged, precision=precision)
    note = None if precision is None else precision_note(judged)
    if note is not None:
        warnings.warn(note, stacklevel=stacklevel)  # at the line that called us
    return flagged


def prune_by_noise_rate(chunks: Chunks, counts: Counts, min_examples: int) -> Mask:
    """For each (true j, given k), the counts[j, k] rows of k where j leads k by most."""
    wanted = counts * _is_pruned(chunks.rows, min_examples)
    np.fill_diagonal(wanted, 0)
    return flag_suspects(chunks.rows, chunks.suspects(wanted), chunks.leads)


def prune_by_class(chunks: Chunks, counts: Counts, min_examples: int) -> Mask:
    """For each given class, the rows that trust it least, as many as are not on the diagonal."""
    rows = chunks.rows
    flagged = np.zeros(len(rows.given), dtype=np.bool_)
    is_pruned = _is_pruned(rows, min_examples)
    for k, of_class in enumerate(rows_by_class(rows.given, rows.num_classes)):
        if is_pruned[k]:
            flagged[of_class[lowest(rows.own[of_class], max(len(of_class) - counts[k, k], 0))]] = True
    return flagged


def both(chunks: Chunks, counts: Counts, min_examples: int) -> Mask:
    """Rows that pruning by noise rate and pruning by class both flag."""
    flagged = prune_by_class(chunks, counts, min_examples)
    flagged &= prune_by_noise_rate(chunks, counts, min_examples)
    return flagged


def confident_learning(chunks: Chunks) -> Mask:
    """Rows confidently placed off the diagonal of the joint, unless the label is the model's choice."""
    places, rows = chunks.places(), chunks.rows
    flagged: Mask = (places != NOWHERE) & (places != rows.given) & ~rows.prefers_given
    return flagged


def predicted_neq_given(chunks: Chunks) -> Mask:
    """Rows whose likeliest class is not the given one, by more than 1e-6."""
    return ~chunks.rows.prefers_given


def low_self_confidence(chunks: Chunks) -> Mask:
    """The rows of lowest self-confidence, as many as confident learning flags."""
    return _low(self_confidence(chunks.rows), confident_learning(chunks))


def low_normalized_margin(chunks: Chunks) -> Mask:
    """The rows of lowest normalized margin, as many as confident learning flags."""
    return _low(normalized_margin(chunks.rows), confident_learning(chunks))


def _low(scores: Numbers, confident_issues: Mask) -> Mask:
    flagged = np.zeros(len(scores), dtype=np.bool_)
    flagged[lowest(scores, confident_issues.sum())] = True
    return flagged


def _is_pruned(rows: KeptRows, min_examples: int) -> Mask:
    # a single row can never be pruned, whatever min_examples says
    is_pruned: Mask = rows.label_counts > max(min_examples, 1)
    return is_pruned


def check_method(method: str, precision: float | None, frac_noise: float, min_examples: int) -> None:
    """Raise where there is no such method, or where it does not have these options."""
    check_filter(method, precision)
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
