"""The one read of N x K: it checks every value and keeps the few top classes of each row.

N rows, K classes, C top classes of each row: the given one first, then the likeliest others (of equal ones
the lower number). Values are gathered, never computed: exact in the type of pred_probs, the same for any
block size and any number of threads.

    read_top_classes(labels, pred_probs) -> TopClasses      order N; thresholds, scores and most masks follow
    join_top_classes(chunks)             -> TopClasses      the same as one read of all of them
    read_sampled(labels, pred_probs)     -> SampledTopClasses    C = 3, and S sampled rows with M = min(16, K)
    merge_sampled(chunks)                -> SampledTopClasses    the same as one read of all of them

With numba (the extra "fast") large arrays are read by compiled kernels, else by `likeliest`; the results are
the same to the last bit.
"""

import mmap
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.checks import BLOCK_ENTRIES, SUM_TOLERANCE, Labels, Mask, Numbers, check_rows, row_blocks
from kiyome.cores import num_cores
from kiyome.images.draws import random_bits

Classes = NDArray[np.unsignedinteger[Any]]
Keys = NDArray[np.uint64]

SLACK = 1e-6  # a probability this close below another one, or a threshold, still counts as equal
WORTH_COMPILED = 2**18  # entries; below it, loading compiled code takes longer than the plain pass
SCREEN = 0.9  # of the tolerance: what a kernel's rounding cannot turn into a bad row

LARGE_BLOCK = 2**20  # entries of a block for compiled work: a call costs nothing beside it
WORTH_THREADS = 2**19  # entries: a millisecond of one thread, or more
REVISITED_ENTRIES = 2**22  # of rows that are read again in one go

NUM_TOP = 3  # the given class and two others: more change no ranking by 0.001 of average precision
SAMPLE_CLASSES = 16  # with fewer, the classes left out begin to look like noise
SAMPLE_ROWS = 10_000  # half or twice as many change average precision by less than 0.001
SAMPLE_ROWS_A_CLASS = 20
HASHED_ROWS = 2**14  # at a time, near the processor


@dataclass(frozen=True, kw_only=True, eq=False)
class TopClasses:
    """The given and the likeliest other classes of every row, with their probabilities."""

    num_classes: int
    classes: Classes
    """(N, C) the given class, then the likeliest others."""
    probs: Numbers
    """(N, C) their probabilities."""

    @property
    def num_entries(self) -> int:
        """N * K, the size of the array that was read."""
        return len(self.classes) * self.num_classes

    @property
    def given(self) -> Classes:
        """(N,) given labels."""
        return self.classes[:, 0]

    @cached_property
    def label_counts(self) -> NDArray[np.int64]:
        """(K,) number of rows with each label."""
        counts = (
            np.bincount(self.given[block], minlength=self.num_classes) for block in row_blocks(self.classes)
        )
        return sum(counts, np.zeros(self.num_classes, dtype=np.int64))

    @property
    def given_probs(self) -> Numbers:
        """(N,) probabilities of the given labels: their self-confidence."""
        return self.probs[:, 0]

    @cached_property
    def prefers_given(self) -> Mask:
        """Mask (N,) of rows whose argmax is the given class, once its probability is raised by SLACK."""
        preferred = np.empty(len(self.given), dtype=np.bool_)

        def compare(block: slice) -> None:
            raised, best = self.given_probs[block] + SLACK, self.probs[block, 1]
            # argmax takes the first of equals
            is_first = self.given[block] < self.classes[block, 1]
            preferred[block] = (raised > best) | ((raised == best) & is_first)

        over_blocks(compare, self.probs)
        return preferred


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """The S rows of smallest hash, in its order, with more top classes than other rows have."""

    keys: Keys
    """(S,) hashes of the row numbers."""
    classes: Classes
    """(S, M) the given class, then the likeliest others."""
    probs: Numbers
    """(S, M) their probabilities."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SampledTopClasses(TopClasses):
    """The top classes of every row, and a sample that a noise model is fitted on."""

    sample: Sample


def read_top_classes(
    labels: Labels, pred_probs: Numbers, first_row: int = 0, *, num_top: int = 2
) -> TopClasses:
    """Return the top classes of every row; an InputError names the first row that is no distribution.

    `labels` and the shape of `pred_probs` were checked before (`check_arrays`); `first_row` is where a chunk
    begins in its table.

    >>> rows = read_top_classes(np.array([1]), np.array([[0.5, 0.1, 0.3, 0.1]]), num_top=3)
    >>> rows.classes.tolist(), rows.probs.tolist()
    ([[1, 0, 2]], [[0.1, 0.5, 0.3]])
    """
    N, K = pred_probs.shape
    kernels = kernels_for(pred_probs.size)
    shape = N, min(num_top, K)
    classes = np.empty(shape, dtype=np.min_scalar_type(K - 1))
    half = pred_probs.dtype == np.float16  # kernels cannot calculate with it
    probs = np.empty(shape, dtype=np.float32 if half and kernels else pred_probs.dtype)

    def read(block: slice) -> None:
        if kernels is None or _is_doubtful(kernels, labels, pred_probs, block, classes, probs):
            check_rows(pred_probs[block], first_row=first_row + block.start)
            classes[block], probs[block] = likeliest(labels[block], pred_probs[block], num_top)

    over_blocks(read, pred_probs, entries=LARGE_BLOCK if kernels else BLOCK_ENTRIES)
    return TopClasses(num_classes=K, classes=classes, probs=probs.astype(pred_probs.dtype, copy=False))


def join_top_classes(chunks: Sequence[TopClasses]) -> TopClasses:
    """Return the top classes of all chunks, in their order."""
    if len(chunks) == 1:
        return chunks[0]
    return TopClasses(
        num_classes=chunks[0].num_classes,
        classes=np.concatenate([chunk.classes for chunk in chunks]),
        probs=np.concatenate([chunk.probs for chunk in chunks]),
    )


def likeliest(labels: Labels, pred_probs: Numbers, num_top: int) -> tuple[Classes, Numbers]:
    """Return classes and probabilities (n, num_top or K): the given class, then the others by probability."""
    K, rows = pred_probs.shape[1], np.arange(len(labels))
    left = pred_probs.copy()
    classes = np.empty((len(labels), min(num_top, K)), dtype=np.min_scalar_type(K - 1))
    found = labels
    for column in range(classes.shape[1]):
        classes[:, column] = found
        left[rows, found] = -1  # below every probability: taken
        found = left.argmax(axis=1)
    return classes, pred_probs[rows[:, np.newaxis], classes]


def highest_sum(pred_probs: Numbers) -> float:
    """Return a number that no sum of a row's probabilities exceeds, however it is rounded."""
    return 1 + 2 * SUM_TOLERANCE[pred_probs.dtype]


def kernels_for(num_entries: int) -> ModuleType | None:
    """Return the compiled kernels, where numba is installed and N x K is large enough for them to pay."""
    if num_entries < WORTH_COMPILED:
        return None
    try:
        from kiyome.noise import kernels
    except ImportError:
        return None
    return kernels


def _is_doubtful(
    kernels: ModuleType, labels: Labels, pred_probs: Numbers, block: slice, classes: Classes, probs: Numbers
) -> bool:
    """Fill a block by the kernel; true when the plain pass must look at it again."""
    tolerance = SCREEN * SUM_TOLERANCE[pred_probs.dtype]
    wide = np.float32 if pred_probs.dtype == np.float16 else pred_probs.dtype
    p = np.ascontiguousarray(pred_probs[block], dtype=wide).view(np.ndarray)
    p.flags.writeable = False  # one type for the compiler, whatever came
    bits = p.view(f"i{p.itemsize}")
    highest = int(np.array(1 + tolerance, dtype=p.dtype).view(bits.dtype))
    doubtful: bool = kernels.top_of_all(
        labels[block], p, bits, highest, tolerance, classes[block], probs[block]
    )
    return doubtful


def read_sampled(labels: Labels, pred_probs: Numbers, first_row: int = 0) -> SampledTopClasses:
    """Return the three top classes of every row of checked arrays, and the sample.

    >>> rows = read_sampled(np.array([1]), np.array([[0.5, 0.1, 0.3, 0.1]]))
    >>> rows.classes.tolist(), rows.probs.tolist()
    ([[1, 0, 2]], [[0.1, 0.5, 0.3]])
    """
    K = pred_probs.shape[1]
    rows = read_top_classes(labels, pred_probs, first_row, num_top=NUM_TOP)
    chosen, keys = sampled_rows(first_row, len(labels), sample_size(K))
    classes, probs = _top_of_sample(labels, pred_probs, chosen)
    sample = Sample(keys=keys, classes=classes, probs=probs)
    return SampledTopClasses(num_classes=K, classes=rows.classes, probs=rows.probs, sample=sample)


def _top_of_sample(labels: Labels, pred_probs: Numbers, chosen: Labels) -> tuple[Classes, Numbers]:
    shape = len(chosen), min(SAMPLE_CLASSES, pred_probs.shape[1])
    classes = np.empty(shape, dtype=np.min_scalar_type(pred_probs.shape[1] - 1))
    probs = np.empty(shape, dtype=pred_probs.dtype)
    kernels = kernels_for(pred_probs.size) if is_readable(pred_probs) else None
    readable = pred_probs.view(np.ndarray)
    readable.flags.writeable = False  # one type for the compiler, whatever came

    def read(part: slice) -> None:
        rows = chosen[part]
        if kernels is None:
            classes[part], probs[part] = likeliest(labels[rows], pred_probs[rows], SAMPLE_CLASSES)
        else:
            kernels.top_of_rows(labels, readable, rows, classes[part], probs[part])
        release(pred_probs)  # sampled rows lie all over a mapped file

    over_blocks(read, pred_probs[: len(chosen)])
    return classes, probs


def merge_sampled(chunks: Sequence[SampledTopClasses]) -> SampledTopClasses:
    """Return all chunks as one, in their order; the sample is the same for any cutting and any order."""
    rows = join_top_classes(chunks)
    samples = [chunk.sample for chunk in chunks]
    keys = np.concatenate([sample.keys for sample in samples])
    chosen = smallest_keys(keys, sample_size(rows.num_classes))
    sample = Sample(
        keys=keys[chosen],
        classes=np.concatenate([sample.classes for sample in samples])[chosen],
        probs=np.concatenate([sample.probs for sample in samples])[chosen],
    )
    return SampledTopClasses(
        num_classes=rows.num_classes, classes=rows.classes, probs=rows.probs, sample=sample
    )


def sample_size(num_classes: int) -> int:
    """Return the number of sampled rows, S; a smaller table is sampled whole."""
    return max(SAMPLE_ROWS, SAMPLE_ROWS_A_CLASS * num_classes)


def sampled_rows(first_row: int, num_rows: int, size: int) -> tuple[Labels, Keys]:
    """Return the rows of smallest keys, and these keys, in their order."""
    # keys are uniform: of many rows, only those with keys in the lowest part of the range are sorted
    fraction = min(2 * size / num_rows, 1)
    rows, keys = _rows_below(fraction, first_row, num_rows)
    if len(rows) < min(size, num_rows):
        rows, keys = _rows_below(1, first_row, num_rows)
    chosen = smallest_keys(keys, size)
    return rows[chosen], keys[chosen]


def _rows_below(fraction: float, first_row: int, num_rows: int) -> tuple[Labels, Keys]:
    highest = np.uint64(min(fraction * 2.0**64, 2.0**64 - 2**11))
    rows, keys = [], []
    for start in range(0, num_rows, HASHED_ROWS):
        block = row_keys(first_row + start, min(HASHED_ROWS, num_rows - start))
        low = np.flatnonzero(block <= highest) if fraction < 1 else np.arange(len(block))
        rows.append(start + low)
        keys.append(block[low])
    return np.concatenate(rows), np.concatenate(keys)


def row_keys(first_row: int, num_rows: int) -> Keys:
    """Return a hash (n,) of each row's number, different for all."""
    return random_bits(np.arange(first_row, first_row + num_rows))


def smallest_keys(keys: Keys, size: int) -> Labels:
    """Return the indices of the `size` smallest keys, in the order of the keys."""
    chosen = np.argpartition(keys, size)[:size] if len(keys) > size else np.arange(len(keys))
    ordered: Labels = chosen[np.argsort(keys[chosen])]
    return ordered


def on_threads(work: Callable[[slice], None], num_items: int, *, entries: int) -> None:
    """Call `work` with slices that divide the items among threads; of several errors the first is raised.

    `entries` is the count of all numbers to be read: few are not worth a thread.
    """
    workers = min(num_cores(), num_items) if entries >= WORTH_THREADS else 1
    if workers <= 1:
        work(slice(0, num_items))
        return
    edges = [num_items * worker // workers for worker in range(workers + 1)]
    slices = list(map(slice, edges[:-1], edges[1:]))
    with ThreadPoolExecutor(workers - 1) as pool:
        others = pool.map(work, slices[1:])
        work(slices[0])  # in this thread: one less to start
        list(others)


def over_blocks(work: Callable[[slice], None], pred_probs: Numbers, *, entries: int = BLOCK_ENTRIES) -> None:
    """Call `work` with every block of rows, on threads, and release the mapped pages of each after it."""
    entries = min(entries, -(-pred_probs.size // num_cores()))
    blocks = list(row_blocks(pred_probs, entries))

    def run(part: slice) -> None:
        for block in blocks[part]:
            work(block)
            release(pred_probs[block])

    on_threads(run, len(blocks), entries=pred_probs.size)


def revisit(pred_probs: Numbers, rows: Labels) -> Iterator[tuple[slice, Numbers, Labels]]:
    """Yield parts of `rows`, each with an array in C order and the indices of the part's rows in it.

    Arrays that compiled work can read are passed as they are; of others (half precision, another memory
    layout) only these rows are copied, a few at a time.
    """
    readable = is_readable(pred_probs)
    step = max(1, REVISITED_ENTRIES // pred_probs.shape[1])
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        if readable:
            yield part, pred_probs, rows[part]
            release(pred_probs[rows[part][0] : rows[part][-1] + 1])
        else:
            yield part, np.ascontiguousarray(pred_probs[rows[part]]), np.arange(len(rows[part]))


def is_readable(pred_probs: Numbers) -> bool:
    """Return whether compiled work can read the array as it lies in memory."""
    return pred_probs.flags.c_contiguous and pred_probs.dtype != np.float16


def release(block: Numbers) -> None:
    """Tell the system that pages with these rows of a mapped file are no longer needed."""
    # without this, every page of a file that was read once counts as memory in use
    mapped = _map_of(block)
    if mapped is None or block.size == 0 or not block.flags.c_contiguous:
        return
    start = block.ctypes.data - np.frombuffer(mapped, dtype=np.uint8).ctypes.data
    first_page = start // mmap.PAGESIZE * mmap.PAGESIZE
    mapped.madvise(mmap.MADV_DONTNEED, first_page, start + block.nbytes - first_page)


def _map_of(array: Numbers) -> mmap.mmap | None:
    """Return the map of a file under an array; None where pages may hold changes that no file has."""
    base: object = array
    shared = False
    while isinstance(base, np.ndarray):
        shared |= isinstance(base, np.memmap) and base.mode in ("r", "r+", "w+")
        base = base.base
    return base if shared and isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED") else None
