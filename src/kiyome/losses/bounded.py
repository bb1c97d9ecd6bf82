"""Losses that a single wrong label can only pull so far. N samples, K classes, p = softmax(logits).

    mean_absolute_error        1 - p                  the most robust, and slow to learn
    generalized_cross_entropy  (1 - p^q) / q          from cross entropy (q to 0) to absolute error (q = 1)
    taylor_cross_entropy       sum (1 - p)^k / k      from absolute error (order 1) to cross entropy
    reverse_cross_entropy      9.21 (1 - p)           label and prediction change places
    symmetric_cross_entropy    both directions
    normalized_...             the loss of the target over the sum of the losses of all classes
    active_passive             one that raises p of the target, one that lowers p of the others

Formulas start from log p with no clamp: a clamp at 1e-7 makes the gradient exactly zero where it matters.
A soft target stands for the mean over its classes; reverse cross entropy compares distributions as they are.
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from kiyome.errors import InputError, choose
from kiyome.losses.cross_entropies import cross_entropy, focal_of_classes
from kiyome.losses.per_sample import as_shares, check_number, full_precision, of_target, one_minus_exp

LEAST_SHARE = 1e-4  # stands for log 0; of both official codes, the paper's text has e^-4


def mean_absolute_error(logits: Tensor, targets: Tensor) -> Tensor:
    """1 - p of the target (N,): half of the absolute distance between label and prediction.

    Source: Ghosh et al. 2017, arXiv 1712.09482.

    >>> import torch
    >>> mean_absolute_error(torch.zeros(1, 4), torch.tensor([2]))
    tensor([0.7500])
    """
    with full_precision(logits, targets) as (z, y):
        return of_target(one_minus_exp(functional.log_softmax(z, 1)), y)


def generalized_cross_entropy(logits: Tensor, targets: Tensor, *, q: float = 0.7) -> Tensor:
    """(1 - p^q) / q of the target (N,): cross entropy as q goes to 0, mean absolute error at q = 1.

    Parameters
    ----------
    logits, targets
        (N, K) scores; (N,) labels or (N, K) shares.
    q
        Above 0, at most 1; larger is more robust and slower to learn.

    Notes
    -----
    Source: Zhang and Sabuncu 2018, arXiv 1805.07836, without the truncated form.

    Examples
    --------
    >>> import torch
    >>> generalized_cross_entropy(torch.zeros(1, 4), torch.tensor([2]), q=0.5)
    tensor([1.])
    """
    check_number("q", q, above=0, at_most=1)
    with full_precision(logits, targets) as (z, y):
        return of_target(one_minus_exp(q * functional.log_softmax(z, 1)) / q, y)


def taylor_cross_entropy(logits: Tensor, targets: Tensor, *, order: int = 2) -> Tensor:
    """The first `order` terms of -log p about p = 1 (N,): sum of (1 - p)^k / k.

    Order 1 is the mean absolute error; many orders are cross entropy. The loss of the same name in Kaggle
    solutions is another: `taylor_softmax`. Source: Feng et al. 2020, "Can Cross Entropy Loss Be Robust to
    Label Noise?", IJCAI.

    >>> import torch
    >>> taylor_cross_entropy(torch.zeros(1, 2), torch.tensor([0]), order=2)
    tensor([0.6250])
    """
    check_number("order", order, at_least=1, at_most=1000)
    if order != int(order):
        raise InputError("The option order is a whole number.", came=repr(order), remedy="Correct order.")
    with full_precision(logits, targets) as (z, y):
        miss = one_minus_exp(functional.log_softmax(z, 1))
        total = miss / order
        for k in range(int(order) - 1, 0, -1):
            total = miss * (1 / k + total)
        return of_target(total, y)


def reverse_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """-sum of p log y over classes (N,), with log 1e-4 for log 0: 9.21 (1 - p) for a hard label.

    Source: Wang et al. 2019, arXiv 1908.06112, with the constant of its official code.

    >>> import torch
    >>> reverse_cross_entropy(torch.zeros(1, 2), torch.tensor([0]))
    tensor([4.6052])
    """
    with full_precision(logits, targets) as (z, y):
        return -(z.softmax(1) * as_shares(y, z).clamp(min=LEAST_SHARE).log()).sum(1)


def symmetric_cross_entropy(
    logits: Tensor, targets: Tensor, *, alpha: float = 0.1, beta: float = 1.0
) -> Tensor:
    """Alpha times cross entropy plus beta times reverse cross entropy (N,).

    Parameters
    ----------
    logits, targets
        (N, K) scores; (N,) labels or (N, K) shares.
    alpha, beta
        Weights, at least 0. The paper's CIFAR-10 has 0.1 and 1, its CIFAR-100 6 and 0.1.

    Notes
    -----
    Source: Wang et al. 2019, arXiv 1908.06112. The two parts differ: in some public copies the second is
    cross entropy again, which makes the whole a multiple of it.

    Examples
    --------
    >>> import torch
    >>> symmetric_cross_entropy(torch.zeros(1, 2), torch.tensor([0]))
    tensor([4.6745])
    """
    check_number("alpha", alpha, at_least=0)
    check_number("beta", beta, at_least=0)
    return alpha * cross_entropy(logits, targets) + beta * reverse_cross_entropy(logits, targets)


def normalized_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy over the sum of the cross entropies of all classes (N,), between 0 and 1.

    Robust, but it underfits on its own: see `active_passive`. Source: Ma et al. 2020, arXiv 2006.13554.

    >>> import torch
    >>> normalized_cross_entropy(torch.zeros(1, 4), torch.tensor([2]))
    tensor([0.2500])
    """
    with full_precision(logits, targets) as (z, y):
        losses = -functional.log_softmax(z, 1)
        return of_target(losses, y) / losses.sum(1)


def normalized_focal(logits: Tensor, targets: Tensor, *, gamma: float = 2.0) -> Tensor:
    """Focal loss over the sum of the focal losses of all classes (N,), between 0 and 1.

    Source: Ma et al. 2020, arXiv 2006.13554.

    >>> import torch
    >>> normalized_focal(torch.zeros(1, 4), torch.tensor([2]))
    tensor([0.2500])
    """
    with full_precision(logits, targets) as (z, y):
        losses = focal_of_classes(z, gamma)
        return of_target(losses, y) / losses.sum(1)


def active_passive(
    logits: Tensor,
    targets: Tensor,
    *,
    active: str = "normalized_cross_entropy",
    passive: str = "reverse_cross_entropy",
    active_weight: float = 1.0,
    passive_weight: float = 1.0,
) -> Tensor:
    """A weighted sum (N,) of a loss that raises p of the target and one that lowers p of the others.

    Parameters
    ----------
    logits, targets
        (N, K) scores; (N,) labels or (N, K) shares.
    active
        "normalized_cross_entropy" or "normalized_focal".
    passive
        "reverse_cross_entropy" or "mean_absolute_error".
    active_weight, passive_weight
        At least 0. The paper's CIFAR-10 has 1 and 1; its CIFAR-100 10 and 0.1 with reverse cross entropy,
        10 and 1 with absolute error; gradients are clipped at a norm of 5.

    Notes
    -----
    Source: Ma et al. 2020, arXiv 2006.13554.

    Examples
    --------
    >>> import torch
    >>> active_passive(torch.zeros(1, 2), torch.tensor([0]), passive="mean_absolute_error")
    tensor([1.])
    """
    check_number("active_weight", active_weight, at_least=0)
    check_number("passive_weight", passive_weight, at_least=0)
    raising, lowering = _part("active", active, ACTIVE), _part("passive", passive, PASSIVE)
    return active_weight * raising(logits, targets) + passive_weight * lowering(logits, targets)


Loss = Callable[[Tensor, Tensor], Tensor]
ACTIVE: dict[str, Loss] = {
    "normalized_cross_entropy": normalized_cross_entropy,
    "normalized_focal": normalized_focal,
}
PASSIVE: dict[str, Loss] = {
    "mean_absolute_error": mean_absolute_error,
    "reverse_cross_entropy": reverse_cross_entropy,
}


def _part(option: str, name: str, parts: dict[str, Loss]) -> Loss:
    return parts[choose(f"option {option}", name, parts)]
