"""Folds: each row is held out once, and every fold looks like the whole.

N rows, K classes, F folds, G groups. Rows of one group stay together. Groups with the same class counts are
of one kind and interchangeable. Kinds are assigned by falling weight, all groups of a kind at once, to the
folds with the lowest shares of its classes; with few groups, moves and exchanges even out the rest. So a
million rows take seconds, and small tables come out at least as even as a greedy assignment group by group.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.errors import InputError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

EXCHANGE_LIMIT = 500
"""Up to so many groups, exchanges of all pairs are tried; time grows with the square."""

NUM_STARTS = 8
"""The first assignment and random ones; the most even result is kept."""


def assign_folds(
    labels: ArrayLike,
    *,
    num_folds: int = 5,
    groups: ArrayLike | None = None,
    seed: int = 0,
    class_names: Sequence[str] | None = None,
    allow_rare: bool = False,
) -> NDArray[np.int16]:
    """Return the fold of each row, 0 to F - 1: stratified by label, groups kept together.

    Parameters
    ----------
    labels : array of int, shape (N,)
        Class of each row, from 0.
    num_folds : int
        F, at least 2.
    groups : array of int or str, shape (N,), optional
        Rows with the same value stay in one fold; -1 or an empty text means alone. See `join_groups`.
    seed : int
        Another seed gives another split.
    class_names : sequence of str, optional
        Names for error messages.
    allow_rare : bool
        Allow classes with fewer rows or groups than folds; each of these is then in another fold.

    Returns
    -------
    folds : array of int16, shape (N,)
        Without groups, folds differ by at most one row in size and in the count of each class.

    Notes
    -----
    The aim, that each class spreads evenly, is that of scikit-learn's `StratifiedGroupKFold`.

    Examples
    --------
    >>> assign_folds([0, 0, 0, 0, 1, 1], num_folds=2, groups=["a", "a", "b", "b", "", ""])
    array([0, 0, 1, 1, 0, 1], dtype=int16)
    """
    labels = _as_labels(labels)
    if not allow_rare:
        check_classes_fill_folds(labels, num_folds=num_folds, groups=groups, class_names=class_names)
    group_of_row = _one_grouping(labels, groups)
    counts = _count_classes(labels, group_of_row)
    rng = np.random.default_rng(seed)
    fold_of_group = _assign_kinds(counts, num_folds, rng)
    if counts.num_groups <= EXCHANGE_LIMIT and counts.num_groups < len(labels):
        starts = [fold_of_group, *rng.integers(num_folds, size=(NUM_STARTS - 1, counts.num_groups))]
        fold_of_group = _evenest_exchange(counts, starts, num_folds)
    return fold_of_group[group_of_row].astype(np.int16)


def check_classes_fill_folds(
    labels: ArrayLike,
    *,
    num_folds: int,
    groups: ArrayLike | None = None,
    class_names: Sequence[str] | None = None,
) -> None:
    """Raise InputError for a class with fewer rows or groups than folds, or for fewer than 2 folds.

    Classes without any row pass, since no split can change them.

    >>> check_classes_fill_folds([0, 0, 0, 1], num_folds=2, class_names=("healthy", "blight"))
    Traceback (most recent call last):
    kiyome.errors.InputError: There are too few rows for 2 folds: 1 in class 'blight'. Give such classes \
more photos, merge or drop them, or use fewer folds.
    """
    labels = _as_labels(labels)
    if not 2 <= num_folds <= np.iinfo(np.int16).max:
        raise InputError(
            f"num_folds={num_folds} is out of range.",
            expected="Expected 2 or more.",
            remedy="Set 2 or more folds.",
        )
    unit, num_units = "row", np.bincount(labels)
    present = np.flatnonzero(num_units)
    if groups is not None and (num_units[present] >= num_folds).all():
        pairs = np.unique(labels * len(labels) + _one_grouping(labels, groups))
        unit, num_units = "group", np.bincount(pairs // len(labels))
    short = [int(k) for k in present if num_units[k] < num_folds]
    if short:
        names = class_names or range(len(num_units))
        named = [f"{num_units[k]} in class {names[k]!r}" for k in short[:5]]
        more = f" and {len(short) - 5} more classes" if len(short) > 5 else ""
        raise InputError(
            f"There are too few {unit}s for {num_folds} folds: {', '.join(named)}{more}.",
            remedy="Give such classes more photos, merge or drop them, or use fewer folds.",
        )


def join_groups(*groupings: ArrayLike) -> Ints:
    """Return group numbers, 0 to G - 1, such that rows together in any grouping are together.

    In each grouping, (N,) of int or str, rows with the same value belong together; -1 or an empty text is a
    group of its own. Groups are connected components, numbered by their first row.

    >>> join_groups(["anna", "anna", "ben", "", ""], [-1, 7, 7, -1, -1])
    array([0, 0, 0, 1, 2])
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    firsts = [_first_row_of_group(grouping) for grouping in groupings]
    num_rows = {len(first) for first in firsts}
    if len(num_rows) != 1:
        raise InputError(
            f"The groupings have the lengths {sorted(num_rows)}.", remedy="Give one entry a row in each."
        )
    n = num_rows.pop()
    rows, links = np.tile(np.arange(n), len(firsts)), np.concatenate(firsts)
    graph = coo_matrix((np.ones(len(rows), np.int8), (rows, links)), shape=(n, n))
    component = connected_components(graph, directed=False)[1].astype(np.int64)
    return _numbered_by_first_row(component)


def _as_labels(labels: ArrayLike) -> Ints:
    array = np.asarray(labels)
    if array.ndim != 1 or not array.size or array.dtype.kind not in "iu" or array.min() < 0:
        lowest = f", lowest {array.min()}" if array.size else ""
        raise InputError(
            f"Labels have shape {array.shape} and type {array.dtype}{lowest}.",
            expected="Expected one row of whole numbers from 0.",
            remedy="Number the classes from 0.",
        )
    whole: Ints = array.astype(np.int64)
    return whole


def _one_grouping(labels: Ints, groups: ArrayLike | None) -> Ints:
    alone = np.arange(len(labels))
    return alone if groups is None else join_groups(np.full(len(labels), -1), groups)


def _first_row_of_group(grouping: ArrayLike) -> Ints:
    """Return the first row of each row's group; a row alone has itself."""
    values = np.asarray(grouping)
    rows = np.arange(len(values))
    if values.dtype.kind in "iu":
        together = rows[values != -1] if values.dtype.kind == "i" else rows
        _, first, code = np.unique(values[together], return_index=True, return_inverse=True)
        rows[together] = together[first[code]]
        return rows
    seen: dict[object, int] = {}
    return np.array([seen.setdefault(v, row) if v != "" else row for row, v in enumerate(values.tolist())])


def _numbered_by_first_row(component: Ints) -> Ints:
    _, first, code = np.unique(component, return_index=True, return_inverse=True)
    numbered: Ints = np.argsort(np.argsort(first))[code]
    return numbered


@dataclass(frozen=True, kw_only=True)
class _ClassCounts:
    """Rows of each class in each group, without zeros: entries sorted by group."""

    groups: Ints
    classes: Ints
    counts: Ints
    starts: Ints  # (G,) where each group's entries begin
    class_sizes: Ints  # (K,) rows of each class

    @property
    def num_groups(self) -> int:
        return len(self.starts)

    @property
    def cost(self) -> Floats:
        """(K,) cost of a squared row: classes count by their shares, whatever their size."""
        return 1.0 / np.maximum(self.class_sizes, 1) ** 2


def _count_classes(labels: Ints, group_of_row: Ints) -> _ClassCounts:
    class_sizes = np.bincount(labels)
    keys, counts = np.unique(group_of_row * len(class_sizes) + labels, return_counts=True)
    groups, classes = np.divmod(keys, len(class_sizes))
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    return _ClassCounts(groups=groups, classes=classes, counts=counts, starts=starts, class_sizes=class_sizes)


def _assign_kinds(counts: _ClassCounts, num_folds: int, rng: np.random.Generator) -> Ints:
    """Return (G,) the fold of each group: kinds by falling weight, within a kind at random."""
    kind_of_group, first_group = _kinds(counts)
    weight = np.add.reduceat(counts.counts**2 * counts.cost[counts.classes], counts.starts)
    shuffled = rng.permutation(counts.num_groups)
    members = shuffled[np.argsort(kind_of_group[shuffled], kind="stable")]
    ends = np.cumsum(np.bincount(kind_of_group))
    stops = np.append(counts.starts[1:], len(counts.groups))
    assigned = np.zeros((num_folds, len(counts.class_sizes)))  # rows of each class in each fold so far
    sizes = np.zeros(num_folds)
    fold_of_group = np.empty(counts.num_groups, np.int64)
    for kind in np.argsort(-weight[first_group], kind="stable"):
        group = first_group[kind]
        own = slice(counts.starts[group], stops[group])
        classes, rows = counts.classes[own], counts.counts[own]
        level = assigned[:, classes] @ (rows * counts.cost[classes]) / weight[group]
        mine = members[ends[kind - 1] if kind else 0 : ends[kind]]
        share = _fill_evenly(np.round(level, 9), sizes, len(mine))
        assigned[:, classes] += np.outer(share, rows)
        sizes += share * rows.sum()
        fold_of_group[mine] = np.repeat(np.arange(num_folds), share)
    return fold_of_group


def _kinds(counts: _ClassCounts) -> tuple[Ints, Ints]:
    """Return (G,) the kind of each group, and the first group of each kind."""
    entries = np.column_stack([counts.classes, counts.counts])
    raw, width = entries.tobytes(), entries.strides[0]
    bounds = [*(counts.starts * width).tolist(), len(raw)]
    seen: dict[bytes, int] = {}
    kinds = [seen.setdefault(raw[a:b], len(seen)) for a, b in pairwise(bounds)]
    return np.array(kinds), np.unique(kinds, return_index=True)[1]


def _fill_evenly(level: Floats, sizes: Floats, num_groups: int) -> Ints:
    """Return how many groups each fold takes if each goes to the lowest level and raises it by one.

    Like water in F vessels, then rounded down; the remaining groups go to the lowest, then the smallest.
    """
    order = np.argsort(level)
    poured = (num_groups + np.cumsum(level[order])) / np.arange(1, len(level) + 1)
    water = poured[np.flatnonzero(poured >= level[order])[-1]]
    share: Ints = np.maximum(np.floor(water - level + 1e-9), 0).astype(np.int64)
    lowest = np.lexsort((sizes, np.round(level + share, 6)))[: num_groups - share.sum()]
    share[lowest] += 1
    return share


def _evenest_exchange(counts: _ClassCounts, starts: Sequence[Ints], num_folds: int) -> Ints:
    """Return (G,) the most even folds that exchanges reach from these starts."""
    rows = np.zeros((counts.num_groups, len(counts.class_sizes)))
    rows[counts.groups, counts.classes] = counts.counts
    shares = rows * np.sqrt(counts.cost)
    ends = [_exchange(shares, start, num_folds) for start in starts]
    return min(ends, key=lambda folds: float((_fold_sums(shares, folds, num_folds) ** 2).sum().round(9)))


def _fold_sums(shares: Floats, folds: Ints, num_folds: int) -> Floats:
    return np.stack([shares[folds == fold].sum(axis=0) for fold in range(num_folds)])


def _exchange(shares: Floats, folds: Ints, num_folds: int) -> Ints:
    """Return folds after moving one group, or swapping two, whichever evens out most, until none does."""
    folds, everyone = folds.copy(), np.arange(len(folds))
    overlap = shares @ shares.T
    own = np.diag(overlap)
    while True:
        pull = shares @ _fold_sums(shares, folds, num_folds).T
        stay = pull[everyone, folds][:, None]
        move = stay - pull - own[:, None]  # (G, F) half of what a move saves
        toward = stay - pull[:, folds]
        swap = toward + toward.T - own[:, None] - own + 2 * overlap  # (G, G) of what an exchange saves
        move[everyone, folds], swap[folds[:, None] == folds] = 0.0, 0.0
        if max(move.max(), swap.max()) < 1e-9:
            return folds
        if move.max() >= swap.max():
            group, fold = np.unravel_index(move.argmax(), move.shape)
            folds[group] = fold
        else:
            pair = list(np.unravel_index(swap.argmax(), swap.shape))
            folds[pair] = folds[pair[::-1]]
