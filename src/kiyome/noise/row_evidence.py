"""What one read of pred_probs leaves behind for the adaptive method: order N, however many classes there are.

N rows, K classes, C = min(3, K) classes kept of every row, S sampled rows with M = min(16, K) kept classes.

    read_rows(labels, pred_probs) -> RowEvidence     of a table, or of any chunk of it
    merge_rows(chunks)            -> RowEvidence     the same as one read of all of them

A kept row holds its given class first, then the likeliest others (of equal ones the lower number). Values are
gathered, never computed, so they are exact in the type of pred_probs and do not depend on blocks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kiyome.checks import Labels, Numbers
from kiyome.images.draws import random_bits
from kiyome.noise.blocks import is_readable, over_blocks, release
from kiyome.noise.reading import Classes, KeptRows, join_kept, kernels_for, likeliest, read_kept

KEPT_CLASSES = 3  # the given one and two others: more move no ranking by 0.001 of average precision
SAMPLE_CLASSES = 16  # with fewer, what is not kept begins to look like noise
SAMPLE_ROWS = 10_000  # half or twice as many move average precision by less than 0.001
SAMPLE_ROWS_A_CLASS = 20
HASHED_ROWS = 2**14  # at a time, near the processor

Keys = NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """The S rows of smallest hash, in its order, with more classes than other rows have."""

    keys: Keys
    """(S,) hashes of the row numbers."""
    classes: Classes
    """(S, M) the given class, then the likeliest others."""
    probs: Numbers
    """(S, M) their probabilities."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RowEvidence(KeptRows):
    """The classes that matter of every row, and a sample to learn from."""

    sample: Sample


def read_rows(labels: Labels, pred_probs: Numbers, first_row: int = 0) -> RowEvidence:
    """The evidence of checked arrays; `first_row` is where a chunk begins in its table.

    >>> rows = read_rows(np.array([1]), np.array([[0.5, 0.1, 0.3, 0.1]]))
    >>> rows.classes.tolist(), rows.probs.tolist()
    ([[1, 0, 2]], [[0.1, 0.5, 0.3]])
    """
    K = pred_probs.shape[1]
    kept = read_kept(labels, pred_probs, first_row, num_kept=KEPT_CLASSES)
    chosen, keys = sampled_rows(first_row, len(labels), sample_size(K))
    classes, probs = _kept_of_sample(labels, pred_probs, chosen)
    return RowEvidence(
        num_classes=K,
        classes=kept.classes,
        probs=kept.probs,
        sample=Sample(keys=keys, classes=classes, probs=probs),
    )


def _kept_of_sample(labels: Labels, pred_probs: Numbers, chosen: Labels) -> tuple[Classes, Numbers]:
    shape = len(chosen), min(SAMPLE_CLASSES, pred_probs.shape[1])
    classes = np.empty(shape, dtype=np.min_scalar_type(pred_probs.shape[1] - 1))
    probs = np.empty(shape, dtype=pred_probs.dtype)
    kernels = kernels_for(pred_probs.size) if is_readable(pred_probs) else None
    readable = pred_probs.view(np.ndarray)
    readable.flags.writeable = False  # one type for the compiler, whatever came

    def keep(part: slice) -> None:
        rows = chosen[part]
        if kernels is None:
            classes[part], probs[part] = likeliest(labels[rows], pred_probs[rows], SAMPLE_CLASSES)
        else:
            kernels.keep_many(labels, readable, rows, classes[part], probs[part])
        release(pred_probs)  # sampled rows lie all over a mapped file

    over_blocks(keep, pred_probs[: len(chosen)])
    return classes, probs


def sampled_rows(first_row: int, num_rows: int, size: int) -> tuple[Labels, Keys]:
    """The rows of smallest keys, and these, in their order.

    Keys are as good as random: of many rows, only those among the lowest of all possible keys are looked at.
    """
    share = min(2 * size / num_rows, 1)
    rows, keys = _rows_below(share, first_row, num_rows)
    if len(rows) < min(size, num_rows):
        rows, keys = _rows_below(1, first_row, num_rows)
    chosen = smallest_keys(keys, size)
    return rows[chosen], keys[chosen]


def _rows_below(share: float, first_row: int, num_rows: int) -> tuple[Labels, Keys]:
    highest = np.uint64(min(share * 2.0**64, 2.0**64 - 2**11))
    rows, keys = [], []
    for start in range(0, num_rows, HASHED_ROWS):
        block = row_keys(first_row + start, min(HASHED_ROWS, num_rows - start))
        low = np.flatnonzero(block <= highest) if share < 1 else np.arange(len(block))
        rows.append(start + low)
        keys.append(block[low])
    return np.concatenate(rows), np.concatenate(keys)


def merge_rows(chunks: Sequence[RowEvidence]) -> RowEvidence:
    """The evidence of all chunks in their order; the sample is the same for any cutting and any order."""
    kept = join_kept(chunks)
    samples = [chunk.sample for chunk in chunks]
    keys = np.concatenate([sample.keys for sample in samples])
    chosen = smallest_keys(keys, sample_size(kept.num_classes))
    return RowEvidence(
        num_classes=kept.num_classes,
        classes=kept.classes,
        probs=kept.probs,
        sample=Sample(
            keys=keys[chosen],
            classes=np.concatenate([sample.classes for sample in samples])[chosen],
            probs=np.concatenate([sample.probs for sample in samples])[chosen],
        ),
    )


def sample_size(num_classes: int) -> int:
    """How many rows are sampled, S; all of them where the table has no more."""
    return max(SAMPLE_ROWS, SAMPLE_ROWS_A_CLASS * num_classes)


def row_keys(first_row: int, num_rows: int) -> Keys:
    """A hash (n,) of each row's number, different for all."""
    return random_bits(np.arange(first_row, first_row + num_rows))


def smallest_keys(keys: Keys, size: int) -> Labels:
    """Where the `size` smallest keys stand, in the order of the keys."""
    chosen = np.argpartition(keys, size)[:size] if len(keys) > size else np.arange(len(keys))
    ordered: Labels = chosen[np.argsort(keys[chosen])]
    return ordered
