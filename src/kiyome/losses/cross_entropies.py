"""Cross entropy and variants that ask for less confidence. N samples, K classes."""

from math import factorial

import torch
from torch import Tensor
from torch.nn import functional

from kiyome.errors import InputError
from kiyome.losses.per_sample import as_probabilities, check_number, full_precision, of_target, one_minus_exp

NO_LABEL_IS_IGNORED = -(2**62)  # torch gives label -100 a loss of zero in silence
TAYLOR_ORDERS = (2, 4, 6)  # odd ones are negative somewhere, higher ones overflow float32


def cross_entropy(logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """-log p of the target (N,): torch's own cross entropy, with its label smoothing.

    `label_smoothing` is the part of every target that is spread evenly over all K classes. The TensorFlow
    repositories spread it over the K-1 others: their eps is eps * K / (K - 1) here.

    >>> cross_entropy(torch.tensor([[2.0, 0.0]]), torch.tensor([0]), label_smoothing=0.1)
    tensor([0.2269])
    """
    check_number("label_smoothing", label_smoothing, at_least=0, at_most=1)
    with full_precision(logits, targets) as (z, y):
        return functional.cross_entropy(
            z, y, reduction="none", label_smoothing=label_smoothing, ignore_index=NO_LABEL_IS_IGNORED
        )


def focal(logits: Tensor, targets: Tensor, *, gamma: float = 2.0) -> Tensor:
    """(1 - p)^gamma times the cross entropy (N,): samples that are learned already count less.

    The opposite of robust: it favors hard samples, wrong labels among them. It is here for comparison, and as
    a part of `active_passive`. `gamma` is 0 (cross entropy) or at least 1, where the gradient stays finite. A
    soft target stands for the mean over its classes. Source: Lin et al. 2017, arXiv 1708.02002.

    >>> focal(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
    tensor([0.0018])
    """
    with full_precision(logits, targets) as (z, y):
        return of_target(focal_of_classes(z, gamma), y)


def focal_of_classes(z: Tensor, gamma: float) -> Tensor:
    """Focal loss (N, K) of each class as the target."""
    check_number("gamma", gamma, at_least=1 if gamma else 0)
    log_p = functional.log_softmax(z, 1)
    return one_minus_exp(log_p) ** gamma * -log_p


def bootstrap(logits: Tensor, targets: Tensor, *, given_share: float = 0.95, hard: bool = False) -> Tensor:
    """Cross entropy (N,) against a mix of the given label and the model's own prediction.

    `given_share` is the weight of the given label; the paper takes 0.95 with soft predictions, 0.8 with hard
    ones. `hard` mixes with the class of the largest logit, a constant, rather than p, which takes part in the
    gradient. Source: Reed et al. 2014, arXiv 1412.6596.

    >>> bootstrap(torch.tensor([[2.0, 0.0]]), torch.tensor([1]), given_share=0.8, hard=True)
    tensor([1.7269])
    """
    check_number("given_share", given_share, at_least=0, at_most=1)
    with full_precision(logits, targets) as (z, y):
        log_p = functional.log_softmax(z, 1)
        predicted = of_target(log_p, z.argmax(1)) if hard else (log_p.exp() * log_p).sum(1)
        return -given_share * of_target(log_p, y) - (1 - given_share) * predicted


def confidence_regularized(logits: Tensor, targets: Tensor, *, beta: float = 2.0) -> Tensor:
    """Cross entropy minus beta times its mean over all classes (N,); it may be negative.

    Label smoothing with the opposite sign: it drives the model to confidence, which sets wrong labels apart.
    Its authors raise beta from 0 to 2 over epochs 10 to 30, and divide the learning rate by 1 + beta. Source:
    CORES2, Cheng et al. 2021, arXiv 2010.02347.

    >>> confidence_regularized(torch.tensor([[2.0, 0.0]]), torch.tensor([0]), beta=1.0)
    tensor([-1.])
    """
    check_number("beta", beta, at_least=0)
    with full_precision(logits, targets) as (z, y):
        log_p = functional.log_softmax(z, 1)
        return beta * log_p.mean(1) - of_target(log_p, y)


def taylor_softmax(
    logits: Tensor, targets: Tensor, *, order: int = 2, label_smoothing: float = 0.0
) -> Tensor:
    """Cross entropy (N,) after a softmax whose exponential is cut to a polynomial of the logits.

    The "Taylor cross entropy" of Kaggle's cassava solutions, which took a label smoothing of 0.2: p = f / sum
    f, with f the sum of z^k / k! up to `order` 2, 4 or 6.

    .. warning::
        It keeps neither order nor shifts. With order 2, f is smallest at z = -1 and grows again below: a
        logit of -6 gets more probability than one of 2. So the largest logit need not be the class that this
        loss favors, and a model trained with it needs the same polynomial at inference, `polynomial_softmax`.
        The published robust loss is `taylor_cross_entropy`.

    >>> taylor_softmax(torch.tensor([[2.0, -6.0]]), torch.tensor([1]))  # the lower logit wins
    tensor([0.3254])
    """
    check_number("label_smoothing", label_smoothing, at_least=0, at_most=1)
    with full_precision(logits, targets) as (z, y):
        log_p = _log_polynomial_softmax(z, order)
        return -of_target(log_p, as_probabilities(y, z, label_smoothing=label_smoothing))


def polynomial_softmax(logits: Tensor, *, order: int = 2) -> Tensor:
    """Probabilities (N, K) by a softmax whose exponential is cut to a polynomial of the logits.

    The link of a network trained with `taylor_softmax`; its argmax may differ from that of the logits.

    >>> polynomial_softmax(torch.tensor([[2.0, -6.0]]))
    tensor([[0.2778, 0.7222]])
    """
    with full_precision(logits, logits) as (z, _):
        return _log_polynomial_softmax(z, order).exp()


def _log_polynomial_softmax(z: Tensor, order: int) -> Tensor:
    """Log p (N, K) with p = f / sum f, f the sum of z^k / k! up to `order`."""
    if order not in TAYLOR_ORDERS:
        raise InputError(
            f"order={order!r} is unknown.",
            expected="Expected 2, 4 or 6.",
            remedy="Choose one of these orders.",
        )
    f = sum((z**k / factorial(k) for k in range(1, order + 1)), torch.ones_like(z))
    return f.log() - f.sum(1, keepdim=True).log()
