"""How N x K is gone through: in blocks of rows, on every processor, holding few pages of a mapped file.

Each block's result depends on its rows alone, so results are the same for any block size and any number of
threads. N rows, K classes.
"""

import mmap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from kiyome.checks import BLOCK_ENTRIES, Labels, Numbers, row_blocks
from kiyome.cores import num_cores

LARGE_BLOCK = 2**20  # entries of a block for compiled work: a call costs nothing beside it
WORTH_THREADS = 2**19  # entries: a millisecond of one thread, or more
REVISITED_ENTRIES = 2**22  # of rows that are looked at again in one go


def on_threads(work: Callable[[slice], None], num_items: int, *, entries: int) -> None:
    """Call `work` with slices that share out the items; of several errors the first item's is raised.

    `entries` are all numbers that will be gone through: few are not worth a thread.
    """
    workers = min(num_cores(), num_items) if entries >= WORTH_THREADS else 1
    if workers <= 1:
        work(slice(0, num_items))
        return
    edges = [num_items * worker // workers for worker in range(workers + 1)]
    shares = list(map(slice, edges[:-1], edges[1:]))
    with ThreadPoolExecutor(workers - 1) as pool:
        others = pool.map(work, shares[1:])
        work(shares[0])  # here: a thread less to start
        list(others)


def over_blocks(work: Callable[[slice], None], pred_probs: Numbers, *, entries: int = BLOCK_ENTRIES) -> None:
    """Call `work` with every block of rows, on threads, and let go of mapped pages behind it."""
    entries = min(entries, -(-pred_probs.size // num_cores()))
    blocks = list(row_blocks(pred_probs, entries))

    def run(share: slice) -> None:
        for block in blocks[share]:
            work(block)
            release(pred_probs[block])

    on_threads(run, len(blocks), entries=pred_probs.size)


def revisit(pred_probs: Numbers, rows: Labels) -> Iterator[tuple[slice, Numbers, Labels]]:
    """Parts of `rows`, each with an array in C order and where in it the part's rows stand.

    Arrays that compiled work can read are passed as they are; of others (half precision, another memory
    layout) only the rows asked for are copied, a few at a time.
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
    """Whether compiled work can read the array as it lies in memory."""
    return pred_probs.flags.c_contiguous and pred_probs.dtype != np.float16


def release(block: Numbers) -> None:
    """Let go of the memory that holds rows of a mapped file; the system keeps or drops the pages.

    Without this, every page of a file that was read once counts as memory in use.
    """
    mapped = _map_of(block)
    if mapped is None or block.size == 0 or not block.flags.c_contiguous:
        return
    start = block.ctypes.data - np.frombuffer(mapped, dtype=np.uint8).ctypes.data
    first_page = start // mmap.PAGESIZE * mmap.PAGESIZE
    mapped.madvise(mmap.MADV_DONTNEED, first_page, start + block.nbytes - first_page)


def _map_of(array: Numbers) -> mmap.mmap | None:
    """The map of a file under an array; none where pages may hold changes that no file has."""
    base: object = array
    shared = False
    while isinstance(base, np.ndarray):
        shared |= isinstance(base, np.memmap) and base.mode in ("r", "r+", "w+")
        base = base.base
    return base if shared and isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED") else None
