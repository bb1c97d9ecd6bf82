"""The one read of N x K: checks every value, and keeps the few classes of each row that matter.

N rows, K classes, C kept classes of each row: the given one first, then the likeliest others (of equal ones
the lower number). Values are gathered, never computed, so they are exact in the type of pred_probs.

    read_kept(labels, pred_probs) -> KeptRows      order N; thresholds, scores and most of a mask follow
    join_kept(chunks)             -> KeptRows      the same as one read of all of them

With numba (the extra "fast") large arrays are read by a compiled kernel, else by `likeliest`, block by block;
the results are the same to the last bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.checks import BLOCK_ENTRIES, SUM_TOLERANCE, Labels, Mask, Numbers, check_rows, row_blocks
from kiyome.noise.blocks import LARGE_BLOCK, over_blocks

Classes = NDArray[np.unsignedinteger[Any]]

SLACK = 1e-6  # a probability this close below another one, or a threshold, still counts as equal
WORTH_COMPILED = 2**18  # entries; below it, loading compiled code takes longer than the plain pass
SCREEN = 0.9  # of the tolerance: what a kernel's rounding cannot turn into a bad row


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptRows:
    """The classes that matter of every row, and their probabilities."""

    num_classes: int
    classes: Classes
    """(N, C) the given class, then the likeliest others."""
    probs: Numbers
    """(N, C) their probabilities."""

    @property
    def num_entries(self) -> int:
        """N * K, the size of what was read."""
        return len(self.classes) * self.num_classes

    @property
    def given(self) -> Classes:
        """(N,) given labels."""
        return self.classes[:, 0]

    @cached_property
    def label_counts(self) -> NDArray[np.int64]:
        """(K,) how many rows carry each label."""
        counted = (
            np.bincount(self.given[block], minlength=self.num_classes) for block in row_blocks(self.classes)
        )
        return sum(counted, np.zeros(self.num_classes, dtype=np.int64))

    @property
    def own(self) -> Numbers:
        """(N,) probabilities of the given labels: their self-confidence."""
        return self.probs[:, 0]

    @cached_property
    def prefers_given(self) -> Mask:
        """Rows (N,) whose argmax is the given class, once its probability is raised by SLACK."""
        preferred = np.empty(len(self.given), dtype=np.bool_)

        def compare(block: slice) -> None:
            raised, best = self.own[block] + SLACK, self.probs[block, 1]
            # argmax takes the first of equals
            is_first = self.given[block] < self.classes[block, 1]
            preferred[block] = (raised > best) | ((raised == best) & is_first)

        over_blocks(compare, self.probs)
        return preferred


def read_kept(labels: Labels, pred_probs: Numbers, first_row: int = 0, *, num_kept: int = 2) -> KeptRows:
    """The kept classes of every row, once each row of pred_probs is sound.

    `labels` and the shape of `pred_probs` were checked before (`check_arrays`); `first_row` is where a chunk
    begins in its table.

    Raises
    ------
    InputError
        A row that holds no probabilities or does not sum to one: the message names the first such row.

    Examples
    --------
    >>> kept = read_kept(np.array([1]), np.array([[0.5, 0.1, 0.3, 0.1]]), num_kept=3)
    >>> kept.classes.tolist(), kept.probs.tolist()
    ([[1, 0, 2]], [[0.1, 0.5, 0.3]])
    """
    N, K = pred_probs.shape
    kernels = kernels_for(pred_probs.size)
    shape = N, min(num_kept, K)
    classes = np.empty(shape, dtype=np.min_scalar_type(K - 1))
    half = pred_probs.dtype == np.float16  # kernels cannot calculate with it
    probs = np.empty(shape, dtype=np.float32 if half and kernels else pred_probs.dtype)

    def read(block: slice) -> None:
        if kernels is None or _is_doubtful(kernels, labels, pred_probs, block, classes, probs):
            check_rows(pred_probs[block], first_row=first_row + block.start)
            classes[block], probs[block] = likeliest(labels[block], pred_probs[block], num_kept)

    over_blocks(read, pred_probs, entries=LARGE_BLOCK if kernels else BLOCK_ENTRIES)
    return KeptRows(num_classes=K, classes=classes, probs=probs.astype(pred_probs.dtype, copy=False))


def join_kept(chunks: Sequence[KeptRows]) -> KeptRows:
    """The kept rows of all chunks, in their order."""
    if len(chunks) == 1:
        return chunks[0]
    return KeptRows(
        num_classes=chunks[0].num_classes,
        classes=np.concatenate([chunk.classes for chunk in chunks]),
        probs=np.concatenate([chunk.probs for chunk in chunks]),
    )


def likeliest(labels: Labels, pred_probs: Numbers, num_kept: int) -> tuple[Classes, Numbers]:
    """Classes and probabilities (n, num_kept or K): the given class, then the others by probability."""
    K, rows = pred_probs.shape[1], np.arange(len(labels))
    left = pred_probs.copy()
    classes = np.empty((len(labels), min(num_kept, K)), dtype=np.min_scalar_type(K - 1))
    found = labels
    for place in range(classes.shape[1]):
        classes[:, place] = found
        left[rows, found] = -1  # below every probability: taken
        found = left.argmax(axis=1)
    return classes, pred_probs[rows[:, np.newaxis], classes]


def highest_sum(pred_probs: Numbers) -> float:
    """What no sum of a row's probabilities exceeds, however it is rounded."""
    return 1 + 2 * SUM_TOLERANCE[pred_probs.dtype]


def kernels_for(num_entries: int) -> ModuleType | None:
    """The compiled kernels, where numba is installed and N x K is large enough for them to pay."""
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
    doubtful: bool = kernels.keep_likeliest(
        labels[block], p, bits, highest, tolerance, classes[block], probs[block]
    )
    return doubtful
