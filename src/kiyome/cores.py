"""The processors that this process may use, which may be fewer than the machine has."""

import os


def usable_cores() -> tuple[int, ...]:
    """Return their numbers in order; where the system does not say which, all of the machine.

    >>> len(usable_cores()) >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def num_cores() -> int:
    """Return how many there are."""
    return len(usable_cores())
