"""Shared by all losses: precision, shapes, hard and soft targets. N samples, K classes.

Half precision breaks most robust losses: squares overflow at 256, clamps at 1e-7 round to nothing, quotients
become inf / inf. So each formula runs in float32 (float64 stays float64), outside autocast, on log p.

Values of targets are checked by the table, not here: a check would make the GPU wait.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite

import torch
from torch import Tensor
from torch.nn import functional

from kiyome.errors import InputError


@contextmanager
def full_precision(logits: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield logits (N, K) in float32 at least and matching targets, with autocast off inside the block.

    Targets are (N,) whole numbers, the hard labels, or (N, K) probabilities that sum to one, the soft ones.

    >>> half, labels = torch.zeros(2, 3, dtype=torch.float16), torch.tensor([0, 2])
    >>> with full_precision(half, labels) as (logits, targets):
    ...     logits.dtype, targets.dtype
    (torch.float32, torch.int64)
    """
    _check_shapes(logits, targets)
    with torch.autocast(logits.device.type, enabled=False):
        wide = logits if logits.dtype == torch.float64 else logits.float()
        yield wide, targets.long() if targets.ndim == 1 else targets.to(wide.dtype)


def of_target(values: Tensor, targets: Tensor) -> Tensor:
    """Value (N,) of each sample's target class; for soft targets the mean over classes, weighted by them.

    >>> values = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> of_target(values, torch.tensor([1, 0])), of_target(values, torch.tensor([[0.5, 0.5], [1.0, 0.0]]))
    (tensor([2., 3.]), tensor([1.5000, 3.0000]))
    """
    if targets.ndim == 1:
        return values.gather(1, targets[:, None]).squeeze(1)
    return (targets * values).sum(1)


def as_probabilities(targets: Tensor, like: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Targets as probabilities (N, K) in the type of `like`, smoothed over all classes.

    >>> as_probabilities(torch.tensor([1]), torch.zeros(1, 2), label_smoothing=0.2)
    tensor([[0.1000, 0.9000]])
    """
    num_classes = like.shape[1]
    probs = functional.one_hot(targets, num_classes).to(like.dtype) if targets.ndim == 1 else targets
    return probs * (1 - label_smoothing) + label_smoothing / num_classes if label_smoothing else probs


def one_minus_exp(x: Tensor) -> Tensor:
    """1 - exp(x) for x up to 0, with all its digits near 0 and all digits of its gradient far below.

    torch's expm1 has the gradient expm1(x) + 1, which is 0 in float32 from x = -17 on: there p = exp(x) would
    stop learning.

    >>> x = torch.tensor([-1e-6, -40.0], requires_grad=True)
    >>> one_minus_exp(x).sum().backward()
    >>> x.grad
    tensor([-1.0000e+00, -4.2484e-18])
    """
    return torch.where(x > -1, -x.expm1(), 1 - x.exp())


def check_number(
    name: str,
    value: float,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
) -> None:
    """Raise InputError unless the option is a finite number within its bounds.

    >>> check_number("q", 0.7, above=0, at_most=1)
    """
    bounds = {"at least": at_least, "above": above, "at most": at_most}
    wanted = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    if not (
        is_number
        and (at_least is None or value >= at_least)
        and (above is None or value > above)
        and (at_most is None or value <= at_most)
    ):
        fault = "out of range" if is_number else "not a number"
        problem = f"{name}={value!r} is {fault}."
        raise InputError(problem, expected=f"Expected a number, {wanted}.", remedy=f"Correct {name}.")


def _check_shapes(logits: Tensor, targets: Tensor) -> None:
    if logits.ndim != 2 or logits.shape[1] < 2 or not logits.is_floating_point():
        raise InputError(
            f"Logits are {logits.dtype} of shape {tuple(logits.shape)}.",
            expected="Expected floating numbers of shape (N, K), with at least two classes.",
            remedy="Pass the scores that the model gives before softmax.",
        )
    hard = targets.shape == logits.shape[:1] and targets.dtype in WHOLE_NUMBERS
    soft = targets.shape == logits.shape and targets.is_floating_point()
    if not (hard or soft):
        raise InputError(
            f"Targets are {targets.dtype} of shape {tuple(targets.shape)}, logits have shape"
            f" {tuple(logits.shape)}.",
            expected="Expected N whole numbers, or floating probabilities of shape (N, K) like the logits.",
            remedy="Pass labels from 0 to K-1, or one row of probabilities for each sample.",
        )


WHOLE_NUMBERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def keep_small_losses(losses: Tensor, *, epoch: int, warmup_epochs: int = 5, num_omitted: int = 1) -> Tensor:
    """Mask (N,), False at the `num_omitted` largest losses of the batch once the warm-up is over.

    Late in training, the largest losses of a batch are mostly wrong labels. Take ``losses[mask].mean()``.
    Before `warmup_epochs`, counted from 0, everything is kept; afterwards at least one sample of a batch.

    Also called OUSM (online uncertainty sample mining). The same number from a smaller batch is a larger
    fraction: 1 of 16 was too many in the cassava solution that reports it. A loss of NaN is kept, so that it
    is seen and not masked. (Hard-example mining keeps the largest: the opposite.)

    >>> keep_small_losses(torch.tensor([0.1, 4.0, 0.3]), epoch=7)
    tensor([ True, False,  True])
    >>> keep_small_losses(torch.tensor([0.1, 4.0, 0.3]), epoch=0)
    tensor([True, True, True])
    """
    check_number("warmup_epochs", warmup_epochs, at_least=0)
    check_number("num_omitted", num_omitted, at_least=0)
    mask = torch.ones(len(losses), dtype=torch.bool, device=losses.device)
    if epoch < warmup_epochs:
        return mask
    ranked = losses.detach().float().nan_to_num(nan=-torch.inf, posinf=torch.inf)
    largest = ranked.topk(max(0, min(num_omitted, len(losses) - 1))).indices
    return mask.index_fill(0, largest, value=False)
