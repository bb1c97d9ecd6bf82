"""The rows to prune for each pair of classes, once their number is known. N rows, K classes.

    prune_counts(joint)                        how many rows of each cell [true, given] to flag
    find_suspects(rows, pred_probs, wanted)    the rows of each cell where the true class leads by most

    chunks = Chunks.read([(labels, pred_probs), ...])    one read of each chunk; an array is one chunk
    chunks.rows                 order N, joined in order
    chunks.joint()              K x K counts, added
    chunks.suspects(wanted)     the strongest rows of each cell, merged
    chunks.leads(given, trues)  only for tied cells

Whatever the cutting, results are those of one array, to the last bit. Which of several equal leads fall under
a cut is decided by numpy's default sort over the whole class, as in cleanlab: a cell whose cut falls among
equal leads is tied, and decided from all leads of its class.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from itertools import repeat
from operator import add
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.checks import Labels, Mask, Numbers, check_chunks, row_blocks, rows_by_class
from kiyome.cores import num_cores
from kiyome.noise.confident_joint import (
    ConfidentClasses,
    Counts,
    JointCounts,
    confident_classes,
    count_joint,
    mean_self_confidence,
)
from kiyome.noise.top_classes import (
    SLACK,
    TopClasses,
    highest_sum,
    join_top_classes,
    kernels_for,
    on_threads,
    read_top_classes,
    release,
    revisit,
)

Cells = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Suspects:
    """The rows of largest lead, true class over given one, of each pair of classes; chunks add up."""

    wanted: Counts
    """(K, K) [true, given] rows to flag in each cell."""
    cells: Cells
    """(E,) the cell of each suspect, given * K + true, sorted; at most `wanted` of a cell."""
    rows: Labels
    """(E,) its row in the table."""
    leads: Numbers
    """(E,) its lead."""
    next_leads: Numbers
    """(K * K,) the largest lead of each cell that is not among them."""

    def __add__(self, other: "Suspects") -> "Suspects":
        cells = np.concatenate([self.cells, other.cells])
        rows, leads = np.concatenate([self.rows, other.rows]), np.concatenate([self.leads, other.leads])
        order = np.lexsort((-leads, cells))
        cells, rows, leads = cells[order], rows[order], leads[order]
        ranks = np.arange(len(cells)) - np.searchsorted(cells, cells)
        stay = ranks < self.wanted.T.ravel()[cells]
        next_leads = np.maximum(self.next_leads, other.next_leads)
        np.maximum.at(next_leads, cells[~stay], leads[~stay])
        return replace(self, cells=cells[stay], rows=rows[stay], leads=leads[stay], next_leads=next_leads)

    @property
    def tied(self) -> Cells:
        """Cells whose cut falls among equal leads."""
        if len(self.cells) == 0:
            return self.cells
        first = np.flatnonzero(np.diff(self.cells, prepend=-1))
        cells, least = self.cells[first], np.minimum.reduceat(self.leads, first)
        tied: Cells = cells[least == self.next_leads[cells]]
        return tied


def find_suspects(rows: TopClasses, pred_probs: Numbers, wanted: Counts, first_row: int = 0) -> Suspects:
    """Return the suspects of rows, or of a chunk that begins at `first_row` of its table."""
    kernels = kernels_for(pred_probs.size) if pred_probs.dtype != np.float16 else None
    if kernels is None:
        found = strongest_leads(rows, pred_probs, wanted)
    else:
        found = _strongest_in_shortlists(kernels, rows, pred_probs, wanted)
    return replace(found, rows=found.rows + first_row)


def strongest_leads(rows: TopClasses, pred_probs: Numbers, wanted: Counts) -> Suspects:
    """Return the suspects, class by class and cell by cell."""
    K = rows.num_classes
    next_leads = np.full(K * K, -np.inf, dtype=pred_probs.dtype)
    found = [(np.empty(0, np.int64), np.empty(0, np.intp), next_leads[:0])]
    for given, of_class in enumerate(rows_by_class(rows.given, K)):
        for true in np.flatnonzero(wanted[:, given]) if len(of_class) else ():
            leads = _leads(rows, pred_probs, of_class, int(true))
            cell, num = given * K + true, min(wanted[true, given], len(leads))
            order = np.argpartition(-leads, min(num, len(leads) - 1))
            found.append((np.full(num, cell), of_class[order[:num]], leads[order[:num]]))
            next_leads[cell] = leads[order[num]] if num < len(leads) else -np.inf
    cells, numbers, leads = (np.concatenate(column) for column in zip(*found, strict=True))
    return Suspects(wanted=wanted, cells=cells, rows=numbers, leads=leads, next_leads=next_leads)


def class_leads(rows: TopClasses, pred_probs: Numbers, given: int, true: int) -> Numbers:
    """Return the lead of the class `true` over `given` in all rows labeled so, in row order."""
    return _leads(rows, pred_probs, np.flatnonzero(rows.given == given), true)


def _leads(rows: TopClasses, pred_probs: Numbers, of_class: Labels, true: int) -> Numbers:
    leads: Numbers = pred_probs[of_class, true] - rows.given_probs[of_class]
    release(pred_probs)
    return leads


def flag_suspects(
    rows: TopClasses, suspects: Suspects, leads_of: Callable[[int, Labels], Iterable[Numbers]]
) -> Mask:
    """Return the mask (N,) of suspects; tied cells are decided by the `leads_of` their classes."""
    flagged = np.zeros(len(rows.given), dtype=np.bool_)
    tied = suspects.tied
    flagged[suspects.rows[~np.isin(suspects.cells, tied)]] = True
    givens, trues = np.divmod(tied, rows.num_classes)
    for given in np.unique(givens):
        of_class, here = np.flatnonzero(rows.given == given), trues[givens == given]
        for true, leads in zip(here, leads_of(given, here), strict=True):
            flagged[of_class[lowest(-leads, suspects.wanted[true, given])]] = True
    return flagged


def lowest(values: Numbers, num: int) -> Labels:
    """Return the indices of the `num` lowest values."""
    # numpy's default sort, not a stable one: cleanlab's, so that ties at the cut fall the same way
    return np.argsort(values)[:num]


def _strongest_in_shortlists(
    kernels: ModuleType, rows: TopClasses, pred_probs: Numbers, wanted: Counts
) -> Suspects:
    """Return the suspects by a short list a cell: rows where another class leads, then rows near that."""
    # a full list admits only rows that lead by its least lead: few of those that prefer the given class
    lists = _Shortlists.empty(rows, wanted)
    lists.offer(kernels, rows, pred_probs, np.flatnonzero(~rows.prefers_given))
    bars = lists.lowest_bars()
    if bars.min() <= 4 * SLACK:  # else no row that prefers its given class comes near
        near = [
            block.start
            + np.flatnonzero(
                rows.prefers_given[block]
                & (rows.probs[block, 1] - rows.given_probs[block] >= bars[rows.given[block]])
            )
            for block in row_blocks(rows.probs)
        ]
        lists.offer(kernels, rows, pred_probs, np.concatenate(near))
    return lists.suspects(wanted)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Shortlists:
    """Lists for C cells, each with space for twice its wanted rows; when one is full, its best half stays."""

    cells: Cells
    """(C,) given * K + true, rising: cells with wanted rows."""
    ranges: Cells
    """(K + 1,) index of each given class's first cell."""
    trues: Cells
    """(C,) the true class."""
    numbers: NDArray[np.int32]
    """(K, K) index of the cell [given, true], or -1."""
    sizes: Cells
    """(C,) wanted rows, at most those of the class."""
    starts: Cells
    """(C,) index of each list's first entry."""
    filled: Cells
    """(C,) its number of entries."""
    bars: Numbers
    """(C,) the least lead that may enter."""
    next_leads: Numbers
    """(C,) the largest lead that was dropped."""
    leads: Numbers
    """(E,) of all lists."""
    rows: Labels
    """(E,) of all lists."""

    @classmethod
    def empty(cls, rows: TopClasses, wanted: Counts) -> "_Shortlists":
        """Return empty lists for a chunk's rows."""
        K, dtype = rows.num_classes, rows.probs.dtype
        sizes = np.minimum(wanted.T, rows.label_counts[:, np.newaxis]).ravel()
        cells = np.flatnonzero(sizes)
        sizes = sizes[cells]
        ends = (2 * sizes).cumsum()
        numbers = np.full(K * K, -1, dtype=np.int32)
        numbers[cells] = np.arange(len(cells))
        return cls(
            cells=cells,
            ranges=np.searchsorted(cells, np.arange(K + 1) * K),
            trues=cells % K,
            numbers=numbers.reshape(K, K),
            sizes=sizes,
            starts=ends - 2 * sizes,
            filled=np.zeros_like(sizes),
            bars=np.full(len(cells), -np.inf, dtype=dtype),
            next_leads=np.full(len(cells), -np.inf, dtype=dtype),
            leads=np.empty(2 * sizes.sum(), dtype=dtype),
            rows=np.empty(2 * sizes.sum(), dtype=np.intp),
        )

    def lowest_bars(self) -> Numbers:
        """Return the lead (K,) below which no row of a given class enters any list."""
        lowest = np.full(len(self.ranges) - 1, np.inf, dtype=self.bars.dtype)
        np.minimum.at(lowest, self.cells // len(lowest), self.bars)
        return lowest

    def offer(self, kernels: ModuleType, rows: TopClasses, pred_probs: Numbers, numbers: Labels) -> None:
        """Offer rows to the lists of their given class; each thread has classes of its own."""
        # the best other class first, which needs no read of pred_probs: its bars leave few rows to read
        load = np.bincount(rows.given[numbers], minlength=rows.num_classes).cumsum()
        edges = np.searchsorted(load, load[-1] * np.arange(1, num_cores()) // num_cores())
        edges = np.array([0, *edges, rows.num_classes])
        lists = self.sizes, self.starts, self.filled, self.bars, self.next_leads, self.leads, self.rows
        limit = highest_sum(pred_probs)

        def offer_best(part: slice) -> None:
            for first, last in zip(edges[:-1][part], edges[1:][part], strict=True):
                kernels.offer_best(rows.classes, rows.probs, numbers, first, last, self.numbers, *lists)

        on_threads(offer_best, len(edges) - 1, entries=8 * len(numbers))  # each is searched for
        kernels.cut_lists(*lists)
        lowest = self.lowest_bars()
        for part, probs, at in revisit(pred_probs, numbers):
            read = rows.classes, rows.probs, probs, at, numbers[part], lowest, limit

            def offer_rest(part: slice, read: tuple[object, ...] = read) -> None:
                for first, last in zip(edges[:-1][part], edges[1:][part], strict=True):
                    kernels.offer_rest(*read, first, last, self.ranges, self.trues, *lists)

            on_threads(offer_rest, len(edges) - 1, entries=len(at) * rows.num_classes)
        kernels.cut_lists(*lists)

    def suspects(self, wanted: Counts) -> Suspects:
        """Return the rows in the lists."""
        # each list fills the first half of its space: as many rows as its class has
        entries = np.arange(self.sizes.sum()) + np.repeat(self.starts // 2, self.sizes)
        next_leads = np.full(wanted.size, -np.inf, dtype=self.next_leads.dtype)
        next_leads[self.cells] = self.next_leads
        return Suspects(
            wanted=wanted,
            cells=np.repeat(self.cells, self.sizes),
            rows=self.rows[entries],
            leads=self.leads[entries],
            next_leads=next_leads,
        )


def prune_counts(joint: Counts, *, frac_noise: float, min_examples: int) -> Counts:
    """Return how many rows (K, K) [true, given] to flag off the diagonal, and to keep on it.

    Where fewer than `min_examples` rows of a given class count as right, the rest of its column is lowered in
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


Run = Callable[..., Iterable[Any]]
"""A function like `map`: calls another with one chunk's arrays each, and returns the results in order."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Chunks:
    """Chunks of one table in its order, each read once."""

    parts: tuple[TopClasses, ...]
    pred_probs: tuple[Any, ...]
    """Arrays (n, K), or what `run` turns into them where it calls."""
    first_rows: tuple[int, ...]
    run: Run = map

    @classmethod
    def read(cls, chunks: Iterable[tuple[ArrayLike, ArrayLike]], *, run: Run = map) -> "Chunks":
        """Return chunks of pairs (labels, pred_probs); an InputError names the first bad row of the table."""
        labels, pred_probs, first_rows = check_chunks(chunks)
        parts = tuple(run(read_top_classes, labels, pred_probs, first_rows))
        return cls(parts=parts, pred_probs=pred_probs, first_rows=first_rows, run=run)

    @cached_property
    def rows(self) -> TopClasses:
        """The top classes of all rows."""
        return join_top_classes(self.parts)

    @cached_property
    def thresholds(self) -> Numbers:
        """The confident thresholds (K,)."""
        return mean_self_confidence(self.rows)

    def confident_classes(self) -> ConfidentClasses:
        """Return the class (N,) that each row is confidently in, or NO_CLASS."""
        return np.concatenate(list(self._confident_classes()))

    def joint(self) -> JointCounts:
        """Return the counts of all confident rows."""
        return reduce(add, map(count_joint, self.parts, self._confident_classes()))

    def _confident_classes(self) -> Iterable[ConfidentClasses]:
        return self.run(confident_classes, self.parts, self.pred_probs, repeat(self.thresholds))

    def suspects(self, wanted: Numbers) -> Suspects:
        """Return the `wanted` rows (K, K) [true, given] of largest lead for each pair of classes."""
        found: Iterable[Suspects] = self.run(
            find_suspects, self.parts, self.pred_probs, repeat(wanted), self.first_rows
        )
        return reduce(add, found)

    def leads(self, given: int, trues: Labels) -> Iterator[Numbers]:
        """Yield the lead of each of the classes `trues` over `given` in all rows labeled so."""
        for true in trues:
            leads = self.run(class_leads, self.parts, self.pred_probs, repeat(given), repeat(true))
            yield np.concatenate(list(leads))
