"""What heads are taught: a label for each row, or its shares of the classes. n rows, K classes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def shares_of(targets: NDArray[Any], num_classes: int) -> NDArray[np.float32]:
    """Return shares (n, K) of labels (n,), all in one class, or shares (n, K) as they are.

    >>> shares_of(np.array([1, 0]), 2), shares_of(np.float32([[0.25, 0.75]]), 2)
    (array([[0., 1.],
           [1., 0.]], dtype=float32), array([[0.25, 0.75]], dtype=float32))
    """
    if targets.ndim == 2:
        return targets
    shares: NDArray[np.float32] = (targets[:, None] == np.arange(num_classes)).astype(np.float32)
    return shares


def counts_of(targets: NDArray[Any], weights: NDArray[np.floating], num_classes: int) -> NDArray[np.float64]:
    """Return the weight (K,) of each class."""
    if targets.ndim == 2:
        return np.asarray(weights.astype(np.float64) @ targets)
    return np.bincount(targets, weights, num_classes).astype(np.float64)
