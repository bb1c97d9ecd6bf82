"""Compiled twins of the plain passes: the same results, bit for bit, at the speed of memory. Needs numba.

N rows, K classes, C kept classes of each row (the given one first).

    keep_likeliest      twin of reading.likeliest: the one read of N x K
    group_by_class      twin of a stable sort by class
    place_by_kept       twin of confident_joint.place_by_kept
    place_among_all     twin of confident_joint.place_among_all
    count_pairs         twin of np.bincount over pairs of classes
    offer_best, offer_rest, cut_lists    together a twin of pruning.strongest_leads

No kernel decides what is wrong input: `keep_likeliest` only says that a block is doubtful, and the plain
twin looks at it again. They drop the interpreter's lock and are run on threads of the standard library, so
that no threading layer of numba's own is ever started: those may end a process that forks.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

from kiyome.noise.arrays import Labels, Numbers

Function = TypeVar("Function", bound=Callable[..., Any])

NARROW = 24  # up to so many classes, one scalar loop beats several vectorized ones
REORDER = {"reassoc", "nsz"}  # sums may be added in any order; the screen below allows for it


def compiled(function: Function) -> Function:
    """The function in machine code, which is kept beside this file or in the user's cache folder.

    A cache that cannot be read or written costs a compilation in each process, never the result.
    """
    uncached: Function = numba.njit(nogil=True, fastmath=REORDER)(function)
    try:
        cached: Function = numba.njit(nogil=True, fastmath=REORDER, cache=True)(function)
    except RuntimeError:  # neither folder can be written
        return uncached

    chosen = cached

    def call(*arrays: Any) -> Any:
        nonlocal chosen
        try:
            return chosen(*arrays)
        except Exception:  # of a full disk or a torn file; kernels themselves raise nothing
            if chosen is uncached:
                raise
            chosen = uncached
            return chosen(*arrays)

    call.__name__ = function.__name__
    return call  # type: ignore[return-value]


def part(function: Function) -> Function:
    """The function as compiled kernels call it, not Python."""
    compiled_part: Function = numba.njit(nogil=True, fastmath=REORDER)(function)
    return compiled_part


@part
def _cut(
    c: int, sizes: Labels, starts: Labels, filled: Labels, bars: Numbers, next_leads: Numbers,
    leads: Numbers, rows: Labels,
) -> None:  # fmt: skip
    """Bring a list's largest leads to its front (Hoare's quickselect), and drop the rest."""
    start, last, end = starts[c], starts[c] + sizes[c] - 1, starts[c] + filled[c]
    low, high = start, end - 1
    while low < high:
        pivot = leads[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while leads[left] > pivot:
                left += 1
            while leads[right] < pivot:
                right -= 1
            if left <= right:
                leads[left], leads[right] = leads[right], leads[left]
                rows[left], rows[right] = rows[right], rows[left]
                left, right = left + 1, right - 1
        if right < last < left:
            break
        low, high = (low, right) if last <= right else (left, high)
    bars[c], filled[c] = leads[start : last + 1].min(), sizes[c]
    for place in range(last + 1, end):
        next_leads[c] = max(next_leads[c], leads[place])


@compiled
def keep_likeliest(
    labels: Labels,
    pred_probs: Numbers,
    bits: Numbers,
    highest: int,
    slack: float,
    classes: Numbers,
    probs: Numbers,
) -> bool:
    """Fill (n, C) `classes` and `probs`, C 2 or 3; true when the block may hold bad rows.

    `bits` are the probabilities seen as signed integers, which order them as long as none is negative. A
    sign, a NaN and an infinity all show as an integer below zero or above `highest`.
    """
    whole = bits.dtype.type  # class numbers as wide as probabilities, so that loops vectorize
    K, C, nothing = whole(bits.shape[1]), classes.shape[1], whole(-1)
    # value and class in one number, of which the largest is sought: of equal values, the lower class
    packed = C == 2 and bits.itemsize == 4 and K <= NARROW
    doubtful = False
    for i in range(len(labels)):
        given, row, p = whole(labels[i]), bits[i], pred_probs[i]
        best, second, signs = nothing, nothing, whole(0)
        at, at_second = K, K
        total = p.dtype.type(0)
        if packed:
            key = np.uint64(0)
            for k in range(K):
                total += p[k]
                signs |= row[k]
                this = np.uint64(np.uint32(row[k])) << np.uint64(32) | np.uint64(K - k)
                key = max(key, np.uint64(0) if whole(k) == given else this)
            best, at = whole(key >> np.uint64(32)), whole(K - np.int64(key & np.uint64(0xFFFFFFFF)))
        elif K <= NARROW:
            for k in range(K):
                total += p[k]
                signs |= row[k]
                value = nothing if whole(k) == given else row[k]
                better = value > best
                next_best = value > second
                second = best if better else (value if next_best else second)
                at_second = at if better else (whole(k) if next_best else at_second)
                best, at = (value, whole(k)) if better else (best, at)
        else:
            for k in range(K):
                total += p[k]
                signs |= row[k]
                best = max(best, nothing if whole(k) == given else row[k])
            for k in range(K):
                at = min(at, whole(k) if (row[k] == best) & (whole(k) != given) else K)
            if C > 2:
                for k in range(K):
                    second = max(second, nothing if (whole(k) == given) | (whole(k) == at) else row[k])
                for k in range(K):
                    at_second = min(
                        at_second,
                        whole(k) if (row[k] == second) & (whole(k) != given) & (whole(k) != at) else K,
                    )
        doubtful |= (signs < 0) | (max(best, row[given]) > highest) | (not abs(total - 1) <= slack)
        at = min(at, whole(K - 1))  # of a doubtful row
        classes[i, 0], probs[i, 0] = given, p[given]
        classes[i, 1], probs[i, 1] = at, p[at]
        if C > 2:
            at_second = min(at_second, whole(K - 1))
            classes[i, 2], probs[i, 2] = at_second, p[at_second]
    return doubtful


@compiled
def group_by_class(classes: Numbers, probs: Numbers, starts: Labels, grouped: Numbers) -> None:
    """Fill `grouped` (N,) with the first column of `probs`, class k from starts[k] on, in row order."""
    ends = starts.copy()
    for i in range(len(classes)):
        k = classes[i, 0]
        grouped[ends[k]] = probs[i, 0]
        ends[k] += 1


@compiled
def place_by_kept(
    classes: Numbers, probs: Numbers, cuts: Numbers, lowest: float, limit: float, places: Numbers
) -> None:
    """Fill `places` (n,) as far as kept classes tell: -1 for nowhere, -2 for undecided."""
    for i in range(len(places)):
        given, other, own, best_other = classes[i, 0], classes[i, 1], probs[i, 0], probs[i, 1]
        swap = (own < best_other) | ((own == best_other) & (given > other))
        others = min(best_other, limit - own - best_other)
        runner_up = max(own, others) if swap else best_other
        choice, best = (other, best_other) if swap else (given, own)
        if best >= cuts[choice]:
            places[i] = choice
        else:
            places[i] = -1 if runner_up < lowest else -2


@compiled
def place_among_all(pred_probs: Numbers, at: Labels, cuts: Numbers, places: Numbers) -> None:
    """Fill `places` (n,) of the rows `at` by all of their classes."""
    K = np.int32(pred_probs.shape[1])
    for n in range(len(at)):
        p = pred_probs[at[n]]
        num_confident, first = np.int32(0), K
        for k in range(K):
            confident = p[k] >= cuts[k]
            num_confident += np.int32(confident)
            first = min(first, np.int32(k) if confident else K)
        place = first if num_confident else np.int32(-1)
        if num_confident > 1:
            place = np.int32(0)
            for k in range(K):
                place = np.int32(k) if p[k] > p[place] else place
        places[n] = place


@compiled
def count_pairs(places: Numbers, classes: Numbers, counts: Numbers) -> None:
    """Add each placed row to `counts` [place, given class]."""
    for i in range(len(places)):
        if places[i] >= 0:
            counts[places[i], classes[i, 0]] += 1


@compiled
def offer_best(
    classes: Numbers, probs: Numbers, numbers: Labels, first: int, last: int, cell_numbers: Numbers,
    sizes: Labels, starts: Labels, filled: Labels, bars: Numbers, next_leads: Numbers, leads: Numbers,
    rows: Labels,
) -> None:  # fmt: skip
    """Offer the rows `numbers` to the lists of their best other class, for given classes first..last-1.

    The lists are those of pruning._Shortlists.
    """
    done, full = 0, -1
    while done < len(numbers):
        done, full = _best_until_full(
            classes, probs, numbers, done, first, last, cell_numbers, sizes, starts, filled, bars, leads, rows
        )
        if full >= 0:
            _cut(full, sizes, starts, filled, bars, next_leads, leads, rows)


@part
def _best_until_full(
    classes: Numbers, probs: Numbers, numbers: Labels, done: int, first: int, last: int,
    cell_numbers: Numbers, sizes: Labels, starts: Labels, filled: Labels, bars: Numbers, leads: Numbers,
    rows: Labels,
) -> tuple[int, int]:  # fmt: skip
    """How many rows were offered until a list was full, and which; a loop without calls is far faster."""
    for n in range(done, len(numbers)):
        row = numbers[n]
        given, other, lead = classes[row, 0], classes[row, 1], probs[row, 1] - probs[row, 0]
        if not first <= given < last:
            continue
        c = cell_numbers[given, other]
        if c >= 0 and lead >= bars[c]:
            leads[starts[c] + filled[c]], rows[starts[c] + filled[c]] = lead, row
            filled[c] += 1
            if filled[c] == 2 * sizes[c]:
                return n + 1, c
    return len(numbers), -1


@compiled
def offer_rest(
    classes: Numbers, probs: Numbers, pred_probs: Numbers, at: Labels, numbers: Labels, lowest: Numbers,
    limit: float, first: int, last: int, ranges: Labels, trues: Labels, sizes: Labels, starts: Labels,
    filled: Labels, bars: Numbers, next_leads: Numbers, leads: Numbers, rows: Labels,
) -> None:  # fmt: skip
    """Offer the same rows, which stand in pred_probs `at`, to the lists of their further classes.

    The best of these has what the given and the best other class leave of `limit`, at most: where that is
    below the `lowest` bar of the given class, the row is not read.
    """
    n, c = 0, -1
    while n < len(numbers):
        n, c = _rest_until_full(
            classes, probs, pred_probs, at, numbers, lowest, limit, n, c + 1, first, last, ranges, trues,
            sizes, starts, filled, bars, leads, rows,
        )  # fmt: skip
        if n < len(numbers):
            _cut(c, sizes, starts, filled, bars, next_leads, leads, rows)


@part
def _rest_until_full(
    classes: Numbers, probs: Numbers, pred_probs: Numbers, at: Labels, numbers: Labels, lowest: Numbers,
    limit: float, done: int, next_cell: int, first: int, last: int, ranges: Labels, trues: Labels,
    sizes: Labels, starts: Labels, filled: Labels, bars: Numbers, leads: Numbers, rows: Labels,
) -> tuple[int, int]:  # fmt: skip
    """Which row filled which list; the number of rows, if none did."""
    for n in range(done, len(numbers)):
        row = numbers[n]
        given, other, own, best = classes[row, 0], classes[row, 1], probs[row, 0], probs[row, 1]
        if not first <= given < last or min(best, limit - own - best) - own < lowest[given]:
            continue
        i, start = at[n], next_cell if n == done else 0
        for c in range(max(start, ranges[given]), ranges[given + 1]):
            lead = pred_probs[i, trues[c]] - own
            if lead >= bars[c] and trues[c] != other:
                leads[starts[c] + filled[c]], rows[starts[c] + filled[c]] = lead, row
                filled[c] += 1
                if filled[c] == 2 * sizes[c]:
                    return n, c
    return len(numbers), -1


@compiled
def cut_lists(
    sizes: Labels, starts: Labels, filled: Labels, bars: Numbers, next_leads: Numbers, leads: Numbers,
    rows: Labels,
) -> None:  # fmt: skip
    """Cut every list that has as many rows as it asks for, or more, which sets its bar."""
    for c in range(len(sizes)):
        if filled[c] >= sizes[c]:
            _cut(c, sizes, starts, filled, bars, next_leads, leads, rows)
