"""Losses with known label noise: T[true, given] = P(given label given true label), rows sum to one.

Estimate T with `kiyome.noise.transition_matrix`, or know it. A model trained with forward correction
estimates the true class and needs T to predict given labels; a model trained with plain cross entropy does
not. Source: Patrini et al. 2017, arXiv 1609.03683. N samples, K classes.
"""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional

from kiyome.errors import InputError
from kiyome.losses.per_sample import full_precision, of_target

ROW_SUM_TOLERANCE = 1e-3
MOST_AMPLIFICATION = 1e6  # of rounding errors, by the inverse


def forward_correction(logits: Tensor, targets: Tensor, *, transition_matrix: ArrayLike) -> Tensor:
    """-log (p T) of the target (N,): the model gives the true class, T turns it into the given label.

    `transition_matrix` is (K, K), T[true, given]; rows sum to one, no column is all zeros; a transposed one
    usually breaks the row sums. Soft targets take memory for N K^2 numbers.

    >>> T = [[0.8, 0.2], [0.4, 0.6]]
    >>> forward_correction(torch.tensor([[99.0, 0.0]]), torch.tensor([1]), transition_matrix=T)
    tensor([1.6094])
    """
    with full_precision(logits, targets) as (z, y):
        log_p = functional.log_softmax(z, 1)
        log_T = torch.as_tensor(_checked_transition(transition_matrix, z.shape[1])).to(z).log()
        if y.ndim == 1:
            return -(log_p + log_T.T[y]).logsumexp(1)
        return -of_target((log_p[:, :, None] + log_T).logsumexp(1), y)


def backward_correction(logits: Tensor, targets: Tensor, *, transition_matrix: ArrayLike) -> Tensor:
    """Inverse(T) times the cross entropies of all classes, at the target (N,): unbiased under the noise.

    It may be negative and has no lower bound, so it needs clipped gradients, and a T far from singular.
    Arguments and errors are those of `forward_correction`, with one more error for a T without a safe
    inverse.

    >>> T = [[0.8, 0.2], [0.4, 0.6]]
    >>> backward_correction(torch.tensor([[2.0, 0.0]]), torch.tensor([0]), transition_matrix=T)
    tensor([-0.8731])
    """
    with full_precision(logits, targets) as (z, y):
        inverse = torch.as_tensor(_inverse(_checked_transition(transition_matrix, z.shape[1]))).to(z)
        return of_target(-functional.log_softmax(z, 1) @ inverse.T, y)


def _checked_transition(transition_matrix: ArrayLike, num_classes: int) -> NDArray[np.float64]:
    try:
        T = np.asarray(transition_matrix, np.float64)
    except ValueError:
        T = np.empty(0)
    square = T.shape == (num_classes, num_classes)
    found = f"row sums {T.sum(axis=1).round(3).tolist()}" if square else f"shape {T.shape}"
    if not square or not (T >= 0).all() or not (np.abs(T.sum(axis=1) - 1) <= ROW_SUM_TOLERANCE).all():
        raise InputError(
            f"T[true, given] has {found}.",
            expected=f"Expected {num_classes} x {num_classes}, never negative, with rows that sum to one.",
            remedy="Pass P(given label given true label); cleanlab's noise_matrix is the transpose.",
        )
    if not T.any(axis=0).all():
        raise InputError(
            f"T[true, given] never gives class {int(T.any(axis=0).argmin())}: its column is all zeros.",
            remedy="Drop that class, or give its column a small probability.",
        )
    return T


def _inverse(T: NDArray[np.float64]) -> NDArray[np.float64]:
    amplification = np.linalg.cond(T, 1)  # by the inverse, without slow singular values
    if not amplification <= MOST_AMPLIFICATION:
        raise InputError(
            f"T[true, given] is nearly singular: its condition number is {amplification:.3g}.",
            remedy="Use forward_correction, which needs no inverse.",
        )
    return np.asarray(np.linalg.inv(T))
