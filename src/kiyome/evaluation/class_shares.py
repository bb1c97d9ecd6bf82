"""Class shares of two splits, and what chance makes of them. N rows, K classes, S shuffles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.errors import InputError
from kiyome.estimates import Estimate, group_numbers, wilson_interval

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

NUM_SHUFFLES = 399
TAIL = 10
"""The tenth lowest and the tenth highest shuffle bound 95 %."""

NORMAL = 1.96
LEAST_VARIANCE = 1e-12
NO_LABEL = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassShares:
    """Shares of the classes among the labels of two splits. K classes."""

    train: tuple[Estimate, ...]
    test: tuple[Estimate, ...]
    difference: tuple[Estimate, ...]
    """(K,) test less train. At random, all intervals together hold 0 in 95 %."""

    @property
    def differing_classes(self) -> list[int]:
        """Classes whose shares differ by more than luck, largest difference first."""
        found = [k for k, each in enumerate(self.difference) if not each.low <= 0 <= each.high]
        return sorted(found, key=lambda k: -abs(self.difference[k].value))


def compare_class_shares(
    labels: ArrayLike,
    in_test: ArrayLike,
    *,
    num_classes: int,
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> ClassShares | None:
    """Return the class shares of two splits and their differences; None where a split has no label.

    Parameters are those of `compare_splits`. Intervals of differences come from the largest of all classes
    in 399 shuffled splits. Where more labels of one split are wrong, shares of given labels differ, too.

    >>> labels, in_test = np.repeat([0, 1, 0, 1], [100, 100, 80, 20]), np.arange(300) >= 200
    >>> shares = compare_class_shares(labels, in_test, num_classes=2)
    >>> shares.differing_classes, shares.difference[0].as_percent()
    ([0, 1], '30.0 % (18.2 to 41.8 %, n = 300)')
    """
    given = labels_or_none(labels, num_classes)
    test = check_in_test(in_test, labels=given)
    known = given != NO_LABEL
    if not (known & test).any() or not (known & ~test).any():
        return None
    together = np.arange(len(test)) if groups is None else group_numbers(groups, len(test))
    given, test, together = given[known], test[known], group_numbers(together[known], int(known.sum()))
    shuffled = shuffled_splits(test, together, np.random.default_rng(seed)).T
    luck = np.array([_differences(_counts(given, split, num_classes)) for split in shuffled])
    counts = _counts(given, test, num_classes)
    rows, shares = counts.sum(axis=1), counts / counts.sum(axis=1, keepdims=True)
    pooled = counts.sum(axis=0) / len(given)
    # how many times the variance of single rows that of groups is
    plain = np.maximum(pooled * (1 - pooled) * (1 / rows).sum(), LEAST_VARIANCE)
    inflation = np.maximum(luck.var(axis=0) / plain, 1)
    largest = np.sort((np.abs(luck) / np.sqrt(plain * inflation)).max(axis=1))[-2 * TAIL]
    own = (shares * (1 - shares) / rows[:, None]).sum(axis=0)
    half = max(float(largest), NORMAL) * np.sqrt(np.maximum(own, plain) * inflation)
    train, test_shares = (
        tuple(_share(*each, int(n)) for each in zip(of.tolist(), (n / inflation).tolist(), strict=True))
        for of, n in zip(shares, rows, strict=True)
    )
    return ClassShares(
        train=train,
        test=test_shares,
        difference=tuple(
            Estimate(value=v, low=max(v - h, -1.0), high=min(v + h, 1.0), num_rows=len(given))
            for v, h in zip((shares[1] - shares[0]).tolist(), half.tolist(), strict=True)
        ),
    )


def shuffled_splits(in_test: Mask, groups: NDArray[np.integer], rng: np.random.Generator) -> Mask:
    """Return (N, S) splits as likely as the given one, if which row is in test were luck.

    Groups that lie in one split swap it with each other; if other groups lie in both, rows were assigned one
    by one, and only groups of one size swap. The rows of a group in both splits swap it within the group.
    """
    sizes, tests = np.bincount(groups), np.bincount(groups, in_test)
    is_mixed = (tests > 0) & (tests < sizes)
    pool_of_group = np.where(is_mixed, len(in_test) + np.arange(len(sizes)), sizes if is_mixed.any() else 0)
    unit = np.unique(
        np.where(is_mixed[groups], len(sizes) + np.arange(len(groups)), groups), return_inverse=True
    )[1]
    first = np.unique(unit, return_index=True)[1]
    pool, value = pool_of_group[groups[first]], in_test[first]
    values_by_pool = value[np.argsort(pool, kind="stable")]
    shuffled = np.empty((len(first), NUM_SHUFFLES), np.bool_)
    for each in shuffled.T:
        each[np.lexsort((rng.random(len(pool)), pool))] = values_by_pool
    return shuffled[unit]


def labels_or_none(labels: ArrayLike, num_classes: int) -> Ints:
    """Return labels (N,) of 0 to K - 1, -1 where there is none; InputError for any other."""
    given = np.asarray(labels, np.int64)
    if given.size and not (given.min() >= NO_LABEL and given.max() < num_classes):
        raise InputError(
            f"Labels run from {given.min()} to {given.max()}.",
            expected=f"Expected 0 to {num_classes - 1}, or {NO_LABEL} for a row without a label.",
            remedy="Correct the labels, or num_classes.",
        )
    return given


def check_in_test(in_test: ArrayLike, **others: NDArray[np.generic]) -> Mask:
    """Return the mask of test rows; InputError where a split has no row, or another array other rows."""
    test = np.asarray(in_test)
    if test.dtype != np.bool_ or test.ndim != 1 or test.all() or not test.any():
        raise InputError(
            f"in_test has shape {test.shape} of {test.dtype}, {int(test.sum())} of its rows are in test.",
            expected="Expected (N,) of bool, with rows in test and rows in train.",
            remedy="Pass the mask of the rows of one split, next to those of train.",
        )
    for name, other in others.items():
        if len(other) != len(test):
            raise InputError(
                f"There are {len(other):,} {name} for {len(test):,} rows.",
                expected="Expected one for each row.",
                remedy="Take both from the same rows.",
            )
    return test


def _counts(labels: Ints, in_test: Mask, num_classes: int) -> Floats:
    """Return (2, K) rows of each class in train and in test."""
    cells = np.bincount(in_test * num_classes + labels, minlength=2 * num_classes)
    return cells.reshape(2, num_classes).astype(np.float64)


def _differences(counts: Floats) -> Floats:
    """Return (K,) shares in test less shares in train."""
    train, test = counts / counts.sum(axis=1, keepdims=True)
    difference: Floats = test - train
    return difference


def _share(value: float, effective_rows: float, num_rows: int) -> Estimate:
    low, high = wilson_interval(value, effective_rows)
    return Estimate(value=value, low=low, high=high, num_rows=num_rows)
