"""Several predictors' probabilities as one: the geometric mean, each calibrated first. M members."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.checks import Matrix, Numbers, check_labels, check_pred_probs, row_blocks
from kiyome.errors import InputError
from kiyome.noise.latent_noise import TINY, calibrating_power, log_probs
from kiyome.noise.row_evidence import read_rows


def combine_pred_probs(labels: ArrayLike, members: Sequence[ArrayLike]) -> NDArray[np.float32]:
    """One array (N, K) of several members' out-of-fold probabilities, for every function of this room.

    Parameters
    ----------
    labels
        (N,) given labels, whole numbers from 0 to K-1.
    members
        M arrays (N, K), one or more, rows sum to one: out-of-fold predictions of different models.

    Raises
    ------
    InputError
        No member; members of different shapes; arrays that break a stated rule.

    Notes
    -----
    Each member is raised to the power that calibrates it to the labels, so that an over-confident one does
    not outvote the others; then the geometric mean is taken and rows are brought to one. On the majority
    labels of CIFAR-10N, three members rank better than the best of them: average precision 0.928 against
    0.897, paired 95 % interval of the difference 0.027 to 0.034. **Not always:** eight members of unequal
    worth reached 0.903 on CIFAR-10's test set where the best alone had 0.912. Noise rates do not get better.

    Examples
    --------
    >>> sure, unsure = [[0.9, 0.1], [0.2, 0.8]], [[0.6, 0.4], [0.5, 0.5]]
    >>> combine_pred_probs([0, 1], [sure, unsure]).argmax(axis=1)
    array([0, 1])
    """
    arrays = [check_pred_probs(member) for member in members]
    if not arrays or len({array.shape for array in arrays}) != 1:
        raise InputError(
            "Members are one or more arrays of the same shape (N, K).",
            came=f"shapes {[array.shape for array in arrays]}",
            remedy="Pass predictions for the same rows and classes, in the same order.",
        )
    num_rows, num_classes = arrays[0].shape
    given = check_labels(labels, num_rows=num_rows, num_classes=num_classes)
    powers = [calibrating_power(log_probs(read_rows(given, array).sample, num_classes)) for array in arrays]
    combined = np.empty((num_rows, num_classes), dtype=np.float32)
    for block in row_blocks(arrays[0]):
        combined[block] = _geometric_mean([array[block] for array in arrays], powers)
    return combined


def _geometric_mean(members: list[Numbers], powers: list[float]) -> Matrix:
    logs = [
        power * np.log(p.astype(np.float64).clip(min=TINY)) for p, power in zip(members, powers, strict=True)
    ]
    # each member's own normalization is one factor a row, which the last one absorbs
    mean: Matrix = np.mean(logs, axis=0)
    mean = np.exp(mean - mean.max(axis=1, keepdims=True))
    mean /= mean.sum(axis=1, keepdims=True)
    return mean
