"""Losses with a limit on the pull of a single wrong label. N samples, K classes, p = softmax(logits).

    mean_absolute_error        1 - p                  the most robust, and slow to learn
    generalized_cross_entropy  (1 - p^q) / q          from cross entropy (q to 0) to absolute error (q = 1)
    taylor_cross_entropy       sum (1 - p)^k / k      from absolute error (order 1) to cross entropy
    reverse_cross_entropy      9.21 (1 - p)           with label and prediction swapped
    symmetric_cross_entropy    both directions
    normalized_...             the loss of the target over the sum of the losses of all classes
    active_passive             one that raises p of the target, one that lowers p of the others
    bi_tempered                bounded by t1, heavy-tailed by t2

Formulas start from log p with no clamp: a clamp at 1e-7 makes the gradient exactly zero where it matters. A
soft target stands for the mean over its classes; reverse cross entropy compares distributions directly.

The bi-tempered logistic loss has

    log_t(x) = (x^(1-t) - 1) / (1 - t)        log at t = 1, bounded below for t < 1
    exp_t(x) = max(1 + (1-t) x, 0)^(1/(1-t))  exp at t = 1, polynomial tails for t > 1, zeros for t < 1
    p        = exp_t2(z - lam), lam such that p sums to one

and is computed from log p, so that neither powers near t = 1 nor probabilities near 0 lose digits.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from kiyome.errors import InputError, choose
from kiyome.losses.cross_entropies import cross_entropy, focal_of_classes
from kiyome.losses.per_sample import as_probabilities, check_number, full_precision, of_target, one_minus_exp

# Newton on sum(p)^(1-t2) = 1, a straight line for equal logits: 9 steps were the most that any of 250 cases
# (t2 0.1 to 4, K 2 to 50,000, logits of size 0.01 to 60,000) needed for 1e-6
NEWTON_STEPS = 12


def bi_tempered(
    logits: Tensor, targets: Tensor, *, t1: float = 0.8, t2: float = 1.4, label_smoothing: float = 0.0
) -> Tensor:
    """Bregman divergence (N,) of temperature t1 between the target and a softmax of temperature t2.

    `t1` is 0 to 1; a hard label costs at most 1 / (1 - t1) below 1. `t2` is at least t1, and at least 1 where
    t1 is 1; above 1 the tails are heavy, below 1 far classes get exact zeros. `label_smoothing` is torch's,
    as in `cross_entropy`.

    At t1 = t2 = 1 a hard label gives cross entropy. A soft one gives the Kullback-Leibler divergence, cross
    entropy minus the target's entropy: the formula's own limit, zero where prediction and target agree. Of
    the two official codes JAX does the same and TensorFlow gives cross entropy; gradients are equal.

    Source: Amid et al. 2019, arXiv 1906.03361, and google/bi-tempered-loss, which finds lam by fixed-point
    steps (5 of them leave sums off by 0.03 at K = 100) where this is Newton's method.

    >>> bi_tempered(torch.tensor([[2.0, 0.0], [0.0, 9.0]]), torch.tensor([0, 0]))
    tensor([0.1456, 2.6576])
    """
    check_number("t1", t1, at_least=0, at_most=1)
    check_number("t2", t2, above=0)
    check_number("label_smoothing", label_smoothing, at_least=0, at_most=1)
    if t2 < t1:
        raise InputError(f"t2={t2} is below t1={t1}.", remedy="Raise t2 or lower t1.")
    with full_precision(logits, targets) as (z, y):
        y = as_probabilities(y, z, label_smoothing=label_smoothing)
        log_p = _log_tempered_softmax(z, t2)
        from_p = (((2 - t1) * log_p).exp() / (2 - t1) - y * _log_t_of_exp(log_p, t1)).sum(1)
        from_y = (
            y * _log_t_of_exp(y.clamp(min=torch.finfo(y.dtype).tiny).log(), t1) - y ** (2 - t1) / (2 - t1)
        ).sum(1)
        return from_p + from_y


def tempered_softmax(logits: Tensor, *, temperature: float) -> Tensor:
    """Probabilities (N, K) with polynomial tails above temperature 1, softmax at 1, exact zeros below.

    The output of a model trained with `bi_tempered`, at temperature t2; its argmax is that of the logits.

    >>> tempered_softmax(torch.tensor([[3.0, 0.0, 0.0]]), temperature=4.0)
    tensor([[0.3597, 0.3201, 0.3201]])
    """
    check_number("temperature", temperature, above=0)
    with full_precision(logits, logits) as (z, _):
        return _log_tempered_softmax(z, temperature).exp()


def _log_tempered_softmax(z: Tensor, t: float) -> Tensor:
    """Log p with p = exp_t(z - lam); the gradient through lam is that of the equation sum p = 1."""
    z = z - z.detach().amax(1, keepdim=True)
    lam = _normalizer(z.detach(), t)
    escort = (t * _log_exp_t(z.detach() - lam, t)).softmax(1)
    return _log_exp_t(z - lam - (escort * (z - z.detach())).sum(1, keepdim=True), t)


def _normalizer(z: Tensor, t: float) -> Tensor:
    """Lam (N, 1) with sum exp_t(z - lam) = 1, approached from below; the largest z is 0."""
    lam = torch.zeros_like(z[:, :1])
    for _ in range(NEWTON_STEPS):
        log_p = _log_exp_t(z - lam, t)
        log_sum, log_slope = log_p.logsumexp(1, keepdim=True), (t * log_p).logsumexp(1, keepdim=True)
        lam = lam + _log_t_of_exp(log_sum, t) * (t * log_sum - log_slope).exp()
    return lam


def _log_exp_t(x: Tensor, t: float) -> Tensor:
    """The log of exp_t(x); -inf, with a zero gradient, where exp_t is cut off."""
    if t == 1:
        return x
    u = (1 - t) * x
    inside = u > -1
    return torch.where(inside, torch.where(inside, u, 0.0).log1p() / (1 - t), -torch.inf)


def _log_t_of_exp(x: Tensor, t: float) -> Tensor:
    """log_t(exp(x)), without the rounding of exp."""
    return x if t == 1 else -one_minus_exp((1 - t) * x) / (1 - t)


LEAST_PROBABILITY = 1e-4  # stands for log 0; of both official codes, the paper's text has e^-4


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

    `q` is above 0, at most 1; larger is more robust and slower to learn. Source: Zhang and Sabuncu 2018,
    arXiv 1805.07836, without the truncated form.

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
        raise InputError(f"order={order!r} is not a whole number.", remedy="Correct order.")
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
        return -(z.softmax(1) * as_probabilities(y, z).clamp(min=LEAST_PROBABILITY).log()).sum(1)


def symmetric_cross_entropy(
    logits: Tensor, targets: Tensor, *, alpha: float = 0.1, beta: float = 1.0
) -> Tensor:
    """Alpha times cross entropy plus beta times reverse cross entropy (N,).

    The paper's CIFAR-10 has weights 0.1 and 1, its CIFAR-100 6 and 0.1. The two parts differ: in some public
    copies the second is cross entropy again, which makes the whole a multiple of it. Source: Wang et al.
    2019, arXiv 1908.06112.

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

    `active` is "normalized_cross_entropy" or "normalized_focal", `passive` "reverse_cross_entropy" or
    "mean_absolute_error". The paper's CIFAR-10 has weights 1 and 1; its CIFAR-100 10 and 0.1 with reverse
    cross entropy, 10 and 1 with absolute error; gradients are clipped at a norm of 5. Source: Ma et al. 2020,
    arXiv 2006.13554.

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
