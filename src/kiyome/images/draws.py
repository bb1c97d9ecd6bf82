"""Random numbers that are a function of their keys alone.

There is no generator state to save: the numbers of (seed, epoch, row, view) are the same in any order, thread
and process, and after any kill. The bits are mixed as in SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)
FIRST_FACTOR, SECOND_FACTOR = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)

ORDER, CROP, FLIP, COLOR, CUTOUT, PLUGIN = range(6)
"""The first key is the purpose of the numbers, so that those of different purposes are independent."""


def random_bits(*keys: ArrayLike) -> NDArray[np.uint64]:
    """Return 64 bits for each combination of keys; integer keys broadcast like arrays.

    >>> random_bits(CROP, [3, 4], 7)
    array([8750741675758285871, 8110368364649112013], dtype=uint64)
    """
    bits = np.zeros(1, np.uint64)
    for key in keys:
        bits = _mixed((bits ^ np.asarray(key, np.int64).astype(np.uint64)) + GOLDEN_GAMMA)
    return bits


def random_uniform(*keys: ArrayLike, count: int) -> NDArray[np.float64]:
    """Return (..., count) numbers from 0 to below 1, where ... is the shape the keys broadcast to.

    >>> random_uniform(CROP, [3, 4, 5], count=2).shape
    (3, 2)
    """
    wide = [np.asarray(key)[..., None] for key in keys]
    return np.asarray((random_bits(*wide, np.arange(count)) >> np.uint64(11)) * 2.0**-53, np.float64)


def random_seed(*keys: int) -> int:
    """Return a seed of 63 bits for a generator of another library.

    >>> random_seed(PLUGIN, 0, 3)
    1161369515027541010
    """
    return int(random_bits(*keys)[0] >> np.uint64(1))


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = (bits ^ (bits >> np.uint64(30))) * FIRST_FACTOR
    bits = (bits ^ (bits >> np.uint64(27))) * SECOND_FACTOR
    return bits ^ (bits >> np.uint64(31))
