"""The one place that checks what is scored. N rows, K classes."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.errors import InputError
from kiyome.noise.arrays import check_arrays, check_rows

Labels = NDArray[np.intp]
Probs = NDArray[np.float64]


def check_scored(labels: ArrayLike, pred_probs: ArrayLike) -> tuple[Labels, Probs]:
    """Labels (N,) and probabilities (N, K) of double precision, each row exactly a distribution.

    >>> labels, probs = check_scored([0], [[0.9, 0.1]])
    >>> labels.shape, probs.dtype
    ((1,), dtype('float64'))
    """
    given, probs = check_arrays(labels, pred_probs)
    check_rows(probs)
    wide = probs.astype(np.float64)
    wide /= wide.sum(axis=1, keepdims=True)
    return given, wide


def check_confidence(confidence: float) -> None:
    """Refuse a confidence that is none."""
    if not 0 < confidence < 1:
        raise InputError(
            "Confidence lies between 0 and 1.", came=str(confidence), remedy="Say 0.95 for 95 %."
        )
