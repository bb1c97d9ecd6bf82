"""Shift between splits: does a test set look like train? N rows, D features, K classes.

A cross-fitted classifier tells rows of test from rows of train; no label of a class is needed.

    AUC             0.5 if it cannot tell them apart, 1 if it always can
    within classes  among rows with the same label: what differs beside the shares of the classes

Out-of-fold scores depend on each other: with random splits, their AUC spreads 1.4 times as far as an interval
for independent scores allows. Intervals come from shuffled splits, each of which is fitted anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.errors import InputError
from kiyome.estimates import Estimate, group_numbers
from kiyome.evaluation.class_shares import (
    NO_LABEL,
    NORMAL,
    TAIL,
    check_in_test,
    labels_or_none,
    shuffled_splits,
)
from kiyome.features.inputs import InputMap
from kiyome.features.split_scores import cross_fit_scores, split_components
from kiyome.folds import assign_folds

Verdict = Literal["differs", "differs little", "no difference found", "cannot tell"]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

MOST_ROWS = 20_000
"""Rows of each split that are compared; the AUC of so many at random spreads by 0.004."""

LITTLE = 0.6
"""Up to this AUC, splits differ little: the means of two normal scores lie 0.36 deviations apart."""

WIDE = 0.2
"""An interval wider than this cannot show that splits look alike."""

NUM_FOLDS = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Shift:
    """How far a classifier tells a test set from train. N rows, K classes."""

    num_train: int
    num_test: int
    auc: Estimate | None
    """None where no fold has rows of both splits, or all scores tie."""
    auc_within_classes: Estimate | None
    """Among rows with the same label, averaged over the rows of test; None without labels in both."""
    class_auc: tuple[Estimate | None, ...]
    """(K,) within each class, None where a split lacks it. At random, all intervals hold 0.5 in 95 %."""
    row_scores: Floats
    """(N,) for a row of test, the share of the train rows that look more like train than it does; for a row
    of train, the reverse. Their mean is the AUC. 1 if no row of the other split looks like it; NaN where not
    compared."""

    row_margins: Floats
    """(N,) how far the classifier places the row toward its own split, in deviations of the scores of its
    fold; it orders rows of equal `row_scores`."""

    @property
    def verdict(self) -> Verdict:
        """Whether the splits differ, as far as the interval of the AUC shows."""
        if self.auc is None:
            return "cannot tell"
        is_little = self.auc.high <= LITTLE and self.auc.high - self.auc.low <= WIDE
        if self.auc.low > 0.5:
            return "differs little" if is_little else "differs"
        return "no difference found" if is_little else "cannot tell"

    @property
    def differing_classes(self) -> list[int]:
        """Classes whose photos differ between the splits by more than luck, largest AUC first."""
        found = {k: each.value for k, each in enumerate(self.class_auc) if each and each.low > 0.5}
        return sorted(found, key=lambda k: -found[k])

    def advice(self, split: str = "test") -> str:
        """Return in one sentence whether a score of train may be believed for the split.

        >>> in_test = np.arange(400) < 40
        >>> compare_splits(np.random.default_rng(0).normal(size=(400, 5)), in_test).advice()
        'Cannot tell with 40 test rows whether they look like train (AUC 0.432, 0.310 to 0.584).'
        """
        if self.auc is None:
            return f"Cannot tell whether {split} looks like train: no rows of both can be compared."
        seen = f"AUC {self.auc.value:.3f}, {self.auc.low:.3f} to {self.auc.high:.3f}"
        if self.verdict == "cannot tell":
            rows, few = min((self.num_test, split), (self.num_train, "train"))
            alike = "they look like train" if few == split else f"{split} looks like them"
            return f"Cannot tell with {rows:,} {few} rows whether {alike} ({seen})."
        if self.verdict == "no difference found":
            alike = f"{split} looks like train, as far as features show ({seen})"
            return f"{alike}: a score of train should carry over."
        if self.verdict == "differs little":
            return f"{split} differs little from train ({seen}): a score of train should nearly carry over."
        if self.auc_within_classes is not None and self.auc_within_classes.high <= LITTLE:
            return f"{split} differs from train ({seen}), but hardly within classes: weight classes as there."
        return f"{split} does not look like train ({seen}): a score of train may not carry over."


def compare_splits(
    features: ArrayLike,
    in_test: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    num_classes: int = 0,
    groups: ArrayLike | None = None,
    input_map: InputMap | None = None,
    seed: int = 0,
) -> Shift:
    """Return how far a cross-fitted classifier tells the rows of test from those of train.

    Ridge regression on principal components learns the split of the rows of four folds and scores the rows
    of the fifth, within which the AUC is taken. The splits are then shuffled 399 times, and all is fitted
    anew: where splits are random, the interval holds 0.5 in 95 %, with few rows, too. It is never narrower
    than that of DeLong et al. (1988, Biometrics 44, 837-845), clustered by group (Obuchowski, 1997,
    Biometrics 53, 567-578).

    Parameters
    ----------
    features : array of float, shape (N, D)
        Of rows of both splits, by one and the same model.
    in_test : array of bool, shape (N,)
        True for rows of the split that is compared with train: test, val or unlabeled.
    labels : array of int, shape (N,), optional
        Given labels; -1 where there is none.
    num_classes : int
        K, needed with labels.
    groups : array of int or str, shape (N,), optional
        Rows of one group stay in one fold and change splits together; an empty text stands alone. A group
        with rows in both splits is shuffled within.
    input_map : InputMap, optional
        Its principal components are used; fitted on these features if not given. A map that was fitted on
        one split alone tells the splits apart by itself.
    seed : int
        Of folds and shuffles.

    Raises
    ------
    InputError
        If shapes differ, features are not finite, labels are out of range, or a split has no row.

    Examples
    --------
    >>> in_test = np.arange(400) < 100
    >>> features = np.random.default_rng(0).normal(size=(400, 5))
    >>> compare_splits(features, in_test).verdict
    'no difference found'
    >>> compare_splits(features + in_test[:, None], in_test).verdict
    'differs'
    """
    values = np.asarray(features)
    if values.ndim != 2:
        raise InputError(
            f"The features have shape {values.shape}.",
            expected="Expected (N, D).",
            remedy="Pass one row of numbers for each row of the table.",
        )
    given = labels_or_none(np.full(len(values), NO_LABEL) if labels is None else labels, num_classes)
    test = check_in_test(in_test, features=values, labels=given)
    together = np.arange(len(test)) if groups is None else group_numbers(groups, len(test))
    rng = np.random.default_rng(seed)
    drawn = np.sort(np.concatenate([rng.permutation(np.flatnonzero(s))[:MOST_ROWS] for s in (test, ~test)]))
    values, rows = values[drawn], _Rows(test[drawn], together[drawn], given[drawn])
    if not np.isfinite(values).all():
        raise InputError(
            "The features hold NaN or infinity.", remedy="Leave out the rows of unreadable photos."
        )
    found, margins = _fit_and_compare(split_components(values, input_map), rows, num_classes, rng)
    of_rows = np.full((2, len(test)), np.nan)
    of_rows[:, drawn] = found[0].row_scores, margins
    counts = [len(drawn), int((rows.labels >= 0).sum())]
    counts += np.bincount(rows.labels[rows.labels >= 0], minlength=num_classes).tolist()
    overall, within, *by_class = _estimates(found, counts)
    if (found[0].row_scores == 0.5).all():  # all tie: one group, or features that do not vary
        overall, within, by_class = None, None, [None] * num_classes
    return Shift(
        num_train=int((~test).sum()),
        num_test=int(test.sum()),
        auc=overall,
        auc_within_classes=within,
        class_auc=tuple(by_class),
        row_scores=of_rows[0],
        row_margins=of_rows[1],
    )


class _Rows(NamedTuple):
    """n compared rows."""

    in_test: Mask
    groups: Ints
    labels: Ints


class _Areas(NamedTuple):
    """P = 2 + K areas under curves: of all rows, within classes on average, of each class."""

    row_scores: Floats
    """(n,) as in `Shift`."""
    values: Floats
    """(P,); NaN where there is no pair."""
    errors: Floats
    """(P,) standard errors as if scores were independent."""


def _fit_and_compare(
    components: NDArray[np.float32], rows: _Rows, num_classes: int, rng: np.random.Generator
) -> tuple[list[_Areas], Floats]:
    """Return the areas for the given splits, then for shuffled ones; and the margins (n,) of the rows."""
    everything = np.zeros(len(components), np.int64)
    seed = int(rng.integers(2**31))
    folds = assign_folds(
        everything, num_folds=NUM_FOLDS, groups=rows.groups, seed=seed, allow_rare=True
    ).astype(np.int64)
    splits = np.column_stack([rows.in_test, shuffled_splits(rows.in_test, rows.groups, rng)])
    scores = cross_fit_scores(components, splits.astype(np.float32), folds)
    found = [
        _areas(score, rows._replace(in_test=split), folds, num_classes)
        for score, split in zip(scores.T, splits.T, strict=True)
    ]
    return found, np.where(rows.in_test, 1, -1) * _standardized(scores[:, 0].astype(np.float64), folds)


def _standardized(scores: Floats, folds: Ints) -> Floats:
    """Return scores (n,) in deviations from the mean of their fold."""
    sizes = np.maximum(np.bincount(folds), 1)
    centered = scores - (np.bincount(folds, scores) / sizes)[folds]
    deviations = np.sqrt(np.bincount(folds, centered**2) / sizes)
    standardized: Floats = centered / np.maximum(deviations, 1e-12)[folds]
    return standardized


def _areas(scores: NDArray[np.float32], rows: _Rows, folds: Ints, num_classes: int) -> _Areas:
    """Return the areas; rows of different folds have scores of different models and are never compared."""
    everything = np.zeros(len(folds), np.int64)
    classes = np.where(rows.labels < 0, num_classes, rows.labels)
    of_folds = _pairs(scores, rows.in_test, folds)
    of_classes = _pairs(scores, rows.in_test, folds * (num_classes + 1) + classes)
    of_classes = of_classes._replace(weights=of_classes.weights * (rows.labels >= 0))
    parts = (
        _auc(of_folds, rows, everything, 1),
        _auc(of_classes, rows, everything, 1),
        _auc(of_classes, rows, classes, num_classes),
    )
    values, errors = (np.concatenate(each) for each in zip(*parts, strict=True))
    return _Areas(of_folds.placements, values, errors)


class _Pairs(NamedTuple):
    """Comparisons of each row with all rows of the other split in its segment."""

    placements: Floats
    """(n,) for a row of test, the share of train rows with lower scores; for a row of train, the share of
    test rows with higher scores. Without any, 0.5."""
    weights: Floats
    """(n,) of a row of test 1, and as much in all for the train rows of its segment; without a pair, 0."""


def _pairs(scores: NDArray[np.floating], in_test: Mask, segments: Ints) -> _Pairs:
    """Return comparisons by score; equal scores count half."""
    order = np.lexsort((scores, segments))
    is_new_segment = np.diff(segments[order], prepend=-1) > 0
    is_new = is_new_segment | (np.diff(scores[order], prepend=0) > 0)
    ties, segment = np.cumsum(is_new) - 1, np.cumsum(is_new_segment) - 1
    lower, counts = [], []
    for side in (~in_test, in_test):
        up_to = np.append(0, np.cumsum(side[order]))
        at_ties, at_segments = (np.append(up_to[:-1][new], up_to[-1]) for new in (is_new, is_new_segment))
        lower.append((at_ties[ties] + at_ties[ties + 1]) / 2 - at_segments[segment])
        counts.append(np.diff(at_segments)[segment])
    (lower_train, lower_test), (num_train, num_test) = lower, counts
    is_test, is_paired = in_test[order], (num_train > 0) & (num_test > 0)
    shares = np.where(
        is_test, lower_train / np.maximum(num_train, 1), 1 - lower_test / np.maximum(num_test, 1)
    )
    weights = np.where(is_test, 1.0, num_test / np.maximum(num_train, 1))
    placed = np.empty((2, len(order)))
    placed[:, order] = np.where(is_paired, shares, 0.5), np.where(is_paired, weights, 0.0)
    return _Pairs(*placed)


def _auc(pairs: _Pairs, rows: _Rows, parts: Ints, num_parts: int) -> tuple[Floats, Floats]:
    """Return areas (P,) of parts of the rows and their standard errors; part P is left out."""
    test_weights = pairs.weights * rows.in_test
    num_test, sums = (
        np.bincount(parts, of, num_parts + 1) for of in (test_weights, test_weights * pairs.placements)
    )
    num_test[num_test == 0] = np.nan
    areas = sums / num_test
    influence = pairs.weights * (pairs.placements - np.nan_to_num(areas[parts]))
    cells, cell = np.unique(parts * len(parts) + rows.groups, return_inverse=True)
    squares = np.bincount(cells // len(parts), np.bincount(cell, influence) ** 2, num_parts + 1)
    # one more row of test at chance: rows in perfect order are no certainty
    errors = np.sqrt(squares + 0.25) / num_test
    return areas[:num_parts], errors[:num_parts]


def _estimates(found: list[_Areas], counts: list[int]) -> list[Estimate | None]:
    """Return estimates (P,) for the first splits; the others show how far luck takes them from 0.5."""
    values, errors = found[0].values, found[0].errors
    luck = np.nan_to_num([(each.values - 0.5) / each.errors for each in found[1:]])
    # the classes share the largest of them
    luck = np.column_stack([luck[:, :2], np.abs(luck[:, 2:]).max(axis=1, initial=0)])
    ordered = np.sort(luck, axis=0)
    up, down = np.maximum(ordered[-TAIL], NORMAL), np.maximum(-ordered[TAIL - 1], NORMAL)
    up[2] = down[2] = max(ordered[-2 * TAIL, 2], NORMAL)
    which = [0, 1, *[2] * (len(values) - 2)]
    lows, highs = values - up[which] * errors, values + down[which] * errors
    return [
        None if np.isnan(value) else Estimate(value=value, low=max(low, 0), high=min(high, 1), num_rows=n)
        for value, low, high, n in zip(values.tolist(), lows.tolist(), highs.tolist(), counts, strict=True)
    ]
