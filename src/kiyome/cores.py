"""The processors that this process may use, which may be fewer than the machine has; work for all of them."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


def usable_cores() -> tuple[int, ...]:
    """Return the numbers of the cores in order; all of the machine where the system gives no affinity.

    >>> len(usable_cores()) >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def num_cores() -> int:
    """Return the number of usable cores."""
    return len(usable_cores())


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold linear algebra to one thread, so that its last bits do not depend on the number of cores."""
    import scipy.linalg  # noqa: F401  (a BLAS that is loaded later would not be held)
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield


def in_threads(function: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
    """Yield the results of work on arrays in the order of the jobs, by a thread a core with one of BLAS each.

    >>> list(in_threads(abs, [-3, 1, -2]))
    [3, 1, 2]
    """
    with one_blas_thread(), ThreadPoolExecutor(num_cores(), "kiyome-arrays") as pool:
        yield from pool.map(function, jobs)
