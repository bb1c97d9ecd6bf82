"""The bi-tempered logistic loss: bounded by t1, heavy-tailed by t2. N samples, K classes.

    log_t(x) = (x^(1-t) - 1) / (1 - t)        log at t = 1, bounded below for t < 1
    exp_t(x) = max(1 + (1-t) x, 0)^(1/(1-t))  exp at t = 1, polynomial tails for t > 1, zeros for t < 1
    p        = exp_t2(z - lam), lam such that p sums to one

Everything is kept as log p, so that neither powers near t = 1 nor probabilities near 0 lose digits.
"""

import torch
from torch import Tensor

from kiyome.errors import InputError
from kiyome.losses.per_sample import as_shares, check_number, full_precision, one_minus_exp

# Newton on sum(p)^(1-t2) = 1, a straight line for equal logits: 9 steps were the most that any of 250 cases
# (t2 0.1 to 4, K 2 to 50,000, logits of size 0.01 to 60,000) needed for 1e-6
NEWTON_STEPS = 12


def bi_tempered(
    logits: Tensor, targets: Tensor, *, t1: float = 0.8, t2: float = 1.4, label_smoothing: float = 0.0
) -> Tensor:
    """The Bregman divergence (N,) of temperature t1 between the target and a softmax of temperature t2.

    Parameters
    ----------
    logits
        (N, K), any floating type; computed in float32 at least.
    targets
        (N,) labels or (N, K) shares.
    t1
        0 to 1; a hard label costs at most 1 / (1 - t1) below 1.
    t2
        At least t1, and at least 1 where t1 is 1; above 1 the tails are heavy, below 1 far classes get exact
        zeros.
    label_smoothing
        As in `cross_entropy`: torch's way, spread over all K classes. The TensorFlow and JAX code spreads it
        over the K-1 others, so its eps is eps * K / (K - 1) here.

    Raises
    ------
    InputError
        Shapes that do not fit, or temperatures out of order.

    Notes
    -----
    At t1 = t2 = 1 a hard label gives cross entropy. A soft one gives the Kullback-Leibler divergence, cross
    entropy minus the target's entropy: the formula's own limit, zero where prediction and target agree. Of
    the two official codes JAX does the same and TensorFlow gives cross entropy; gradients are equal.

    Source: Amid et al. 2019, arXiv 1906.03361, and google/bi-tempered-loss, which finds lam by fixed-point
    steps (5 of them leave sums off by 0.03 at K = 100) where this is Newton's method.

    Examples
    --------
    >>> bi_tempered(torch.tensor([[2.0, 0.0], [0.0, 9.0]]), torch.tensor([0, 0]))
    tensor([0.1456, 2.6576])
    """
    check_number("t1", t1, at_least=0, at_most=1)
    check_number("t2", t2, above=0)
    check_number("label_smoothing", label_smoothing, at_least=0, at_most=1)
    if t2 < t1:
        raise InputError(
            "The option t2 is at least t1.", came=f"t1={t1}, t2={t2}", remedy="Raise t2 or lower t1."
        )
    with full_precision(logits, targets) as (z, y):
        y = as_shares(y, z, label_smoothing=label_smoothing)
        log_p = _log_tempered_softmax(z, t2)
        from_p = (((2 - t1) * log_p).exp() / (2 - t1) - y * _log_t_of_exp(log_p, t1)).sum(1)
        from_y = (
            y * _log_t_of_exp(y.clamp(min=torch.finfo(y.dtype).tiny).log(), t1) - y ** (2 - t1) / (2 - t1)
        ).sum(1)
        return from_p + from_y


def tempered_softmax(logits: Tensor, *, temperature: float) -> Tensor:
    """Probabilities (N, K) with polynomial tails above temperature 1, softmax at 1, exact zeros below.

    What a model trained with `bi_tempered` says at inference, with temperature t2; its argmax is the logits'.

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
    """Lam (N, 1) with sum exp_t(z - lam) = 1, from the left and never past it; the largest z is 0."""
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
