"""Which rows to prune, once it is known how many: by pairs of classes, or by class. N rows, K classes.

    prune_counts(joint)                    how many rows of each cell [true, given] to flag
    find_suspects(rows, pred_probs, wanted)    the rows of each cell where the true class leads by most

The suspects of chunks add up: the strongest of each cell stay. Which of several equal leads fall under a cut
is decided by numpy's default sort over the whole class, as in cleanlab, so a cell whose cut falls among equal
leads is said to be tied, and settled from all leads of its class.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from kiyome.checks import Labels, Mask, Numbers, row_blocks, rows_by_class
from kiyome.cores import num_cores
from kiyome.noise.blocks import on_threads, release, revisit
from kiyome.noise.confident_joint import Counts
from kiyome.noise.reading import SLACK, KeptRows, highest_sum, kernels_for

Cells = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Suspects:
    """For each pair of classes, the rows of largest lead: of the true class over the given one.

    Cells are numbered given * K + true, and sorted.
    """

    wanted: Counts
    """(K, K) [true, given] how many rows each cell asks for."""
    cells: Cells
    """(E,) the cell of each suspect: at most as many of a cell as it asks for."""
    rows: Labels
    """(E,) its row in the table."""
    leads: Numbers
    """(E,) its lead."""
    next_leads: Numbers
    """(K * K,) the largest lead of each cell that found no place."""

    def __add__(self, other: "Suspects") -> "Suspects":
        cells = np.concatenate([self.cells, other.cells])
        rows, leads = np.concatenate([self.rows, other.rows]), np.concatenate([self.leads, other.leads])
        order = np.lexsort((-leads, cells))
        cells, rows, leads = cells[order], rows[order], leads[order]
        places = np.arange(len(cells)) - np.searchsorted(cells, cells)
        stay = places < self.wanted.T.ravel()[cells]
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


def find_suspects(rows: KeptRows, pred_probs: Numbers, wanted: Counts, first_row: int = 0) -> Suspects:
    """The suspects of rows, or of a chunk that begins at `first_row` of its table."""
    kernels = kernels_for(pred_probs.size) if pred_probs.dtype != np.float16 else None
    if kernels is None:
        found = strongest_leads(rows, pred_probs, wanted)
    else:
        found = _strongest_in_shortlists(kernels, rows, pred_probs, wanted)
    return replace(found, rows=found.rows + first_row)


def strongest_leads(rows: KeptRows, pred_probs: Numbers, wanted: Counts) -> Suspects:
    """The suspects, class by class and cell by cell."""
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


def class_leads(rows: KeptRows, pred_probs: Numbers, given: int, true: int) -> Numbers:
    """The lead of the class `true` over `given` in all rows labeled so, in row order."""
    return _leads(rows, pred_probs, np.flatnonzero(rows.given == given), true)


def _leads(rows: KeptRows, pred_probs: Numbers, of_class: Labels, true: int) -> Numbers:
    leads: Numbers = pred_probs[of_class, true] - rows.own[of_class]
    release(pred_probs)
    return leads


def flag_suspects(
    rows: KeptRows, suspects: Suspects, leads_of: Callable[[int, Labels], Iterable[Numbers]]
) -> Mask:
    """A mask (N,) of the suspects; tied cells are settled by the `leads_of` their given and true classes."""
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
    """Indices of the `num` lowest values."""
    # numpy's default sort, not a stable one: cleanlab's, so that ties at the cut fall the same way
    return np.argsort(values)[:num]


def _strongest_in_shortlists(
    kernels: ModuleType, rows: KeptRows, pred_probs: Numbers, wanted: Counts
) -> Suspects:
    """The suspects, a short list a cell: first from rows where another class leads, then from those near.

    Once a list is full, a row can only enter where its best other class leads by no less than the list's
    least. So most rows that prefer their given class are never looked at again.
    """
    lists = _Shortlists.empty(rows, wanted)
    lists.offer(kernels, rows, pred_probs, np.flatnonzero(~rows.prefers_given))
    bars = lists.lowest_bars()
    if bars.min() <= 4 * SLACK:  # else no row that prefers its given class comes near
        near = [
            block.start
            + np.flatnonzero(
                rows.prefers_given[block]
                & (rows.probs[block, 1] - rows.own[block] >= bars[rows.given[block]])
            )
            for block in row_blocks(rows.probs)
        ]
        lists.offer(kernels, rows, pred_probs, np.concatenate(near))
    return lists.suspects(wanted)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Shortlists:
    """For each of C cells room for twice the rows it asks for. When that is full, the best half stays."""

    cells: Cells
    """(C,) given * K + true, rising: those that ask for rows."""
    ranges: Cells
    """(K + 1,) where the cells of each given class begin."""
    trues: Cells
    """(C,) the true class."""
    numbers: NDArray[np.int32]
    """(K, K) which of them [given, true] is, or -1."""
    sizes: Cells
    """(C,) how many rows the cell asks for, and its class has."""
    starts: Cells
    """(C,) where its room begins."""
    filled: Cells
    """(C,) how many rows are in it."""
    bars: Numbers
    """(C,) the least lead that may enter."""
    next_leads: Numbers
    """(C,) the largest lead that had to leave."""
    leads: Numbers
    """(E,) of all rooms."""
    rows: Labels
    """(E,)"""

    @classmethod
    def empty(cls, rows: KeptRows, wanted: Counts) -> "_Shortlists":
        """Lists for a chunk's rows."""
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
        """The lead (K,) below which no row of a given class enters any list."""
        lowest = np.full(len(self.ranges) - 1, np.inf, dtype=self.bars.dtype)
        np.minimum.at(lowest, self.cells // len(lowest), self.bars)
        return lowest

    def offer(self, kernels: ModuleType, rows: KeptRows, pred_probs: Numbers, numbers: Labels) -> None:
        """Offer rows to the lists of their given class; each thread has classes of its own.

        The best other class comes first, for which no probability is read: it raises most bars so far that
        few rows are worth reading.
        """
        load = np.bincount(rows.given[numbers], minlength=rows.num_classes).cumsum()
        edges = np.searchsorted(load, load[-1] * np.arange(1, num_cores()) // num_cores())
        edges = np.array([0, *edges, rows.num_classes])
        lists = self.sizes, self.starts, self.filled, self.bars, self.next_leads, self.leads, self.rows
        limit = highest_sum(pred_probs)

        def offer_best(share: slice) -> None:
            for first, last in zip(edges[:-1][share], edges[1:][share], strict=True):
                kernels.offer_best(rows.classes, rows.probs, numbers, first, last, self.numbers, *lists)

        on_threads(offer_best, len(edges) - 1, entries=8 * len(numbers))  # each is searched for
        kernels.cut_lists(*lists)
        lowest = self.lowest_bars()
        for part, probs, at in revisit(pred_probs, numbers):
            kept = rows.classes, rows.probs, probs, at, numbers[part], lowest, limit

            def offer_rest(share: slice, kept: tuple[object, ...] = kept) -> None:
                for first, last in zip(edges[:-1][share], edges[1:][share], strict=True):
                    kernels.offer_rest(*kept, first, last, self.ranges, self.trues, *lists)

            on_threads(offer_rest, len(edges) - 1, entries=len(at) * rows.num_classes)
        kernels.cut_lists(*lists)

    def suspects(self, wanted: Counts) -> Suspects:
        """What is in the lists."""
        # each list fills the first half of its room: as many rows as its class can give
        places = np.arange(self.sizes.sum()) + np.repeat(self.starts // 2, self.sizes)
        next_leads = np.full(wanted.size, -np.inf, dtype=self.next_leads.dtype)
        next_leads[self.cells] = self.next_leads
        return Suspects(
            wanted=wanted,
            cells=np.repeat(self.cells, self.sizes),
            rows=self.rows[places],
            leads=self.leads[places],
            next_leads=next_leads,
        )


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
