"""Compiled twins of the plain passes: the same results, bit for bit, at the speed of memory. Needs numba.

N rows, K classes, C top classes of each row (the given one first).

    top_of_all          twin of top_classes.likeliest: the one read of N x K
    top_of_rows         twin of top_classes.likeliest for more classes of few rows
    group_by_class      twin of a stable sort by class
    decide_by_top       twin of confident_joint.decide_by_top
    decide_among_all    twin of confident_joint.decide_among_all
    count_pairs         twin of np.bincount over pairs of classes
    along_curve         twin of noise_model.along_curve
    offer_best, offer_rest, cut_lists    together a twin of pruning.strongest_leads

No kernel decides that an input is wrong: `top_of_all` only reports that a block is doubtful, and the plain
twin checks it. Kernels release the interpreter's lock and run on threads of the standard library, so that
numba's own threading layers, which may end a process that forks, never start.
"""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

from kiyome.artifacts.storage import default_cache_folder, folder_of_this_user
from kiyome.checks import Labels, Numbers
from kiyome.errors import KiyomeError

Function = TypeVar("Function", bound=Callable[..., Any])

NARROW = 24  # up to so many classes, loops over rows beat loops over classes
TILE = 128  # rows that such loops take at a time, near the processor
REORDER = {"reassoc", "nsz"}  # sums may be added in any order; the screen below allows for it


def compiled(function: Function) -> Function:
    """Return the function in machine code, cached where numba does, or else in kiyome's cache folder."""
    # a cache that cannot be read or written costs a compilation in each process, never the result
    uncached: Function = numba.njit(nogil=True, fastmath=REORDER)(function)
    chosen = _cached(function) or uncached

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


def _cached(function: Function) -> Function | None:
    """Return the function with a cache on disk; None where no folder can be written."""
    before = numba.config.CACHE_DIR
    try:
        return numba.njit(nogil=True, fastmath=REORDER, cache=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # numba can write neither beside this file nor below a home
        pass
    try:
        default_cache_folder().mkdir(parents=True, exist_ok=True)
        numba.config.CACHE_DIR = str(folder_of_this_user(default_cache_folder() / f"kernels-{os.geteuid()}"))
        return numba.njit(nogil=True, fastmath=REORDER, cache=True)(function)  # type: ignore[no-any-return]
    except (RuntimeError, OSError, KiyomeError):
        return None
    finally:
        numba.config.CACHE_DIR = before


def part(function: Function) -> Function:
    """Return the function in machine code, for calls from compiled kernels only."""
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
    for i in range(last + 1, end):
        next_leads[c] = max(next_leads[c], leads[i])


@compiled
def top_of_all(
    labels: Labels, pred_probs: Numbers, bits: Numbers, highest: int, slack: float, classes: Numbers,
    probs: Numbers,
) -> bool:  # fmt: skip
    """Fill (n, C) `classes` and `probs`, C 2 or 3; true when the block may hold bad rows.

    `bits` are the probabilities seen as signed integers, which order them as long as none is negative. A
    sign, a NaN and an infinity all show as an integer below zero or above `highest`.
    """
    if bits.shape[1] <= NARROW:
        return _top_of_narrow(labels, pred_probs, bits, slack, classes, probs)
    whole = bits.dtype.type  # class numbers as wide as probabilities, so that loops vectorize
    K, C, nothing = whole(bits.shape[1]), classes.shape[1], whole(-1)
    doubtful = False
    for i in range(len(labels)):
        given, row, p = whole(labels[i]), bits[i], pred_probs[i]
        best, second, signs = nothing, nothing, whole(0)
        at, at_second = K, K
        total = p.dtype.type(0)
        for k in range(K):
            total += p[k]
            signs |= row[k]
            best = max(best, nothing if whole(k) == given else row[k])
        for k in range(K):
            at = min(at, whole(k) if (row[k] == best) & (whole(k) != given) else K)
        doubtful |= (signs < 0) | (max(best, row[given]) > highest) | (not abs(total - 1) <= slack)
        at = min(at, whole(K - 1))  # of a doubtful row
        classes[i, 0], probs[i, 0] = given, p[given]
        classes[i, 1], probs[i, 1] = at, p[at]
        if C > 2:
            for k in range(K):
                second = max(second, nothing if (whole(k) == given) | (whole(k) == at) else row[k])
            for k in range(K):
                at_second = min(
                    at_second, whole(k) if (row[k] == second) & (whole(k) != given) & (whole(k) != at) else K
                )
            at_second = min(at_second, whole(K - 1))
            classes[i, 2], probs[i, 2] = at_second, p[at_second]
    return doubtful


@part
def _top_of_narrow(
    labels: Labels, pred_probs: Numbers, bits: Numbers, slack: float, classes: Numbers, probs: Numbers
) -> bool:
    """Do the same for few classes: classes in the outer loop, rows of a tile in the inner one."""
    kind, C = pred_probs.dtype, classes.shape[1]
    numbers = np.empty((5, TILE), kind)
    at_class = np.empty((3, TILE), bits.dtype)
    doubtful = False
    for start in range(0, len(labels), TILE):
        n = min(TILE, len(labels) - start)
        column, total, least = numbers[0, :n], numbers[1, :n], numbers[2, :n]
        best, second = numbers[3, :n], numbers[4, :n]
        given, at, at_second = at_class[0, :n], at_class[1, :n], at_class[2, :n]
        given[:] = labels[start : start + n]
        total[:], least[:], best[:], second[:], at[:], at_second[:] = 0, 0, -1, -1, 0, 0
        for k in range(pred_probs.shape[1]):
            _lift(pred_probs, start, k, column)
            _add(column, total, least)
            if C == 2:
                _lead(column, k, given, best, at)
            else:
                _lead_two(column, k, given, best, at, second, at_second)
        for r in range(n):
            i = start + r
            doubtful |= (least[r] < 0) | (not abs(total[r] - 1) <= slack)
            classes[i, 0], probs[i, 0] = given[r], pred_probs[i, given[r]]
            classes[i, 1], probs[i, 1] = at[r], pred_probs[i, at[r]]
            if C > 2:
                classes[i, 2], probs[i, 2] = at_second[r], pred_probs[i, at_second[r]]
    return doubtful


# Four loops over a tile, each so small that it becomes a few vector instructions.


@part
def _lift(pred_probs: Numbers, start: int, k: int, column: Numbers) -> None:
    for r in range(len(column)):
        column[r] = pred_probs[start + r, k]


@part
def _add(column: Numbers, total: Numbers, least: Numbers) -> None:
    for r in range(len(column)):
        total[r] += column[r]
        least[r] = min(least[r], column[r])


@part
def _lead(column: Numbers, k: int, given: Labels, best: Numbers, at: Labels) -> None:
    number = at.dtype.type(k)
    for r in range(len(column)):
        value = column.dtype.type(-1) if given[r] == number else column[r]
        better = value > best[r]
        best[r], at[r] = (value, number) if better else (best[r], at[r])


@part
def _lead_two(
    column: Numbers, k: int, given: Labels, best: Numbers, at: Labels, second: Numbers, at_second: Labels
) -> None:
    number = at.dtype.type(k)
    for r in range(len(column)):
        value = column.dtype.type(-1) if given[r] == number else column[r]
        better, next_best = value > best[r], value > second[r]
        second[r] = best[r] if better else (value if next_best else second[r])
        at_second[r] = at[r] if better else (number if next_best else at_second[r])
        best[r] = value if better else best[r]
        at[r] = number if better else at[r]


@compiled
def group_by_class(classes: Numbers, probs: Numbers, starts: Labels, grouped: Numbers) -> None:
    """Fill `grouped` (N,) with the first column of `probs`, class k from starts[k] on, in row order."""
    ends = starts.copy()
    for i in range(len(classes)):
        k = classes[i, 0]
        grouped[ends[k]] = probs[i, 0]
        ends[k] += 1


@compiled
def decide_by_top(
    classes: Numbers, probs: Numbers, cuts: Numbers, lowest: float, limit: float, found: Numbers
) -> None:
    """Fill `found` (n,) as far as the two top classes decide it: -1 for no class, -2 for undecided."""
    for i in range(len(found)):
        given, other, given_prob, best_other = classes[i, 0], classes[i, 1], probs[i, 0], probs[i, 1]
        swap = (given_prob < best_other) | ((given_prob == best_other) & (given > other))
        others = min(best_other, limit - given_prob - best_other)
        runner_up = max(given_prob, others) if swap else best_other
        predicted, best = (other, best_other) if swap else (given, given_prob)
        if best >= cuts[predicted]:
            found[i] = predicted
        else:
            found[i] = -1 if runner_up < lowest else -2


@compiled
def decide_among_all(pred_probs: Numbers, at: Labels, cuts: Numbers, found: Numbers) -> None:
    """Fill `found` (n,) of the rows `at` by all of their classes."""
    K = np.int32(pred_probs.shape[1])
    for n in range(len(at)):
        p = pred_probs[at[n]]
        num_confident, first = np.int32(0), K
        for k in range(K):
            confident = p[k] >= cuts[k]
            num_confident += np.int32(confident)
            first = min(first, np.int32(k) if confident else K)
        best = first if num_confident else np.int32(-1)
        if num_confident > 1:
            best = np.int32(0)
            for k in range(K):
                best = np.int32(k) if p[k] > p[best] else best
        found[n] = best


@compiled
def count_pairs(found: Numbers, classes: Numbers, counts: Numbers) -> None:
    """Add each row with a confident class to `counts` [confident class, given class]."""
    for i in range(len(found)):
        if found[i] >= 0:
            counts[found[i], classes[i, 0]] += 1


@compiled
def along_curve(z: Numbers, knots: Numbers, values: Numbers, slopes: Numbers, found: Numbers) -> None:
    """Fill `found` (n,) by bisection: numpy's search of each number takes five times as long."""
    size = 1
    while size < len(knots):
        size *= 2
    filled = np.full(size, np.inf)  # to a power of two, so that no step needs a condition
    filled[: len(knots)] = knots
    last_knots = np.empty(TILE, np.uint32)
    for start in range(0, len(z), TILE):
        part_of_z, last = z[start : start + TILE], last_knots[: min(TILE, len(z) - start)]
        last[:] = 0
        step = size // 2
        while step:
            _halve(part_of_z, filled, np.uint32(step), last)
            step //= 2
        for r in range(len(last)):
            at = min(max(part_of_z[r], knots[0]), knots[-1])
            found[start + r] = values[last[r]] + slopes[last[r]] * (at - knots[last[r]])


@part
def _halve(z: Numbers, knots: Numbers, step: Any, last: Numbers) -> None:
    """Move up by a step where that knot is not above z: a loop of vector instructions."""
    for r in range(len(last)):
        last[r] += step if knots[last[r] + step] <= z[r] else np.uint32(0)


@compiled
def top_of_rows(labels: Labels, pred_probs: Numbers, at: Labels, classes: Numbers, probs: Numbers) -> None:
    """Fill (n, M) `classes` and `probs` of the rows `at` by insertion sort."""
    most = classes.shape[1]
    for n in range(len(at)):
        p, given = pred_probs[at[n]], labels[at[n]]
        classes[n, 0], probs[n, 0] = given, p[given]
        num, bar = 1, p.dtype.type(-1)  # what a class must exceed once all columns are filled
        for k in range(len(p)):
            if not p[k] > bar or k == given:
                continue
            num = min(num + 1, most)
            c = num - 1
            while c > 1 and probs[n, c - 1] < p[k]:
                classes[n, c], probs[n, c] = classes[n, c - 1], probs[n, c - 1]
                c -= 1
            classes[n, c], probs[n, c] = k, p[k]
            bar = probs[n, most - 1] if num == most else bar


@compiled
def offer_best(
    classes: Numbers, probs: Numbers, numbers: Labels, first: int, last: int, cell_numbers: Numbers,
    sizes: Labels, starts: Labels, filled: Labels, bars: Numbers, next_leads: Numbers, leads: Numbers,
    rows: Labels,
) -> None:  # fmt: skip
    """Offer the rows `numbers` of given class first..last-1 to the list of their best other class."""
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
    """Return how many rows were offered until a list was full, and which list it is."""
    # a loop without calls is far faster
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
    """Offer the same rows, at the indices `at` of pred_probs, to the lists of their further classes.

    The best of these has at most what the given and the best other class leave of `limit`: where that is
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
    """Return which row filled which list; the number of rows, if none did."""
    for n in range(done, len(numbers)):
        row = numbers[n]
        given, other, given_prob, best = classes[row, 0], classes[row, 1], probs[row, 0], probs[row, 1]
        if not first <= given < last or min(best, limit - given_prob - best) - given_prob < lowest[given]:
            continue
        i, start = at[n], next_cell if n == done else 0
        for c in range(max(start, ranges[given]), ranges[given + 1]):
            lead = pred_probs[i, trues[c]] - given_prob
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
    """Cut every list with as many rows as wanted, or more, which sets its bar."""
    for c in range(len(sizes)):
        if filled[c] >= sizes[c]:
            _cut(c, sizes, starts, filled, bars, next_leads, leads, rows)
