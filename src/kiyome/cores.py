"""The processors that this process may use, which may be fewer than the machine has."""

import os


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
