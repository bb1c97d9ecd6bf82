"""Early-learning regularization: running means of early predictions keep it from fitting wrong labels.

N samples, K classes. The mathematics is a function; the class holds the memory and calls it.
"""

import torch
from torch import Tensor

from kiyome.errors import InputError, StaleArtifact
from kiyome.losses.cross_entropies import cross_entropy
from kiyome.losses.per_sample import WHOLE_NUMBERS, check_number, full_precision

LEAST_PROBABILITY = 1e-4  # of the official code; the penalty is at least log 1e-4


def early_learning_penalty(logits: Tensor, beliefs: Tensor) -> Tensor:
    """log(1 - <beliefs, p>), never positive (N,): the lower, the more p agrees with earlier predictions.

    `beliefs` are (N, K) running means of probabilities, constants; for mixed photos the same mix of two rows'
    means. Where p is within 1e-4 of 0 or 1 the gradient is zero, as in the official code.

    >>> early_learning_penalty(torch.zeros(1, 2), torch.tensor([[0.5, 0.5]])).exp()
    tensor([0.5000])
    """
    with full_precision(logits, beliefs) as (z, memory):
        return (1 - (memory.detach() * _clamped(z)).sum(1)).log()


class EarlyLearning:
    """Cross entropy plus `weight` times the early-learning penalty, with a memory of each row's predictions.

    ``loss_fn(logits, targets, rows)`` gives one number per sample. Each call first updates the memory of its
    rows, belief <- momentum * belief + (1 - momentum) * p; so call it once per training step, never on
    held-out rows, and save it with every checkpoint. A row appears at most once in a batch. Each process has
    its own memory; with several processes, combine after each epoch the rows that each has seen, as training
    does.

    `momentum` and `weight` are beta and lambda in the paper: 0.7 and 3 on CIFAR-10, 0.9 and 7 on CIFAR-100.
    Source: Liu et al. 2020, arXiv 2007.00151.

    >>> loss_fn = EarlyLearning(num_rows=100, num_classes=2)
    >>> logits, targets, rows = torch.tensor([[2.0, 0.0]]), torch.tensor([0]), torch.tensor([42])
    >>> loss_fn(logits, targets, rows), loss_fn(logits, targets, rows)
    (tensor([-0.6846]), tensor([-1.4201]))
    >>> resumed = EarlyLearning(num_rows=100, num_classes=2)
    >>> resumed.load_state_dict(loss_fn.state_dict())
    """

    def __init__(
        self, *, num_rows: int, num_classes: int, momentum: float = 0.7, weight: float = 3.0
    ) -> None:
        check_number("num_rows", num_rows, at_least=1)
        check_number("num_classes", num_classes, at_least=2)
        check_number("momentum", momentum, at_least=0, at_most=1)
        check_number("weight", weight, at_least=0)
        self.momentum, self.weight = momentum, weight
        self.beliefs = torch.zeros(num_rows, num_classes)

    def __call__(self, logits: Tensor, targets: Tensor, rows: Tensor) -> Tensor:
        """Return the loss (N,) of these samples, after the memory of their rows is updated."""
        penalty = early_learning_penalty(logits, self.remember(logits, rows))
        return cross_entropy(logits, targets) + self.weight * penalty

    def remember(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Return the updated memory (N, K) of these rows (N,), and store it."""
        if rows.shape != logits.shape[:1] or rows.dtype not in WHOLE_NUMBERS:
            raise InputError(
                f"rows are {rows.dtype} of shape {tuple(rows.shape)} for {len(logits)} samples.",
                expected="Expected the row in the table of each sample, a whole number.",
                remedy="Take the row index from the loader.",
            )
        self.beliefs, rows = self.beliefs.to(logits.device), rows.long().to(logits.device)
        with full_precision(logits.detach(), logits.detach()) as (z, _):
            p = _clamped(z)
            update = ((1 - self.momentum) * p / p.sum(1, keepdim=True)).to(self.beliefs.dtype)
        updated = self.momentum * self.beliefs.index_select(0, rows) + update
        self.beliefs.index_copy_(0, rows, updated)
        return updated

    def state_dict(self) -> dict[str, Tensor]:
        """Return a copy of the memory (num_rows, K)."""
        return {"beliefs": self.beliefs.detach().clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore a saved memory; StaleArtifact if it is for a table of another size."""
        shapes = {name: tuple(values.shape) for name, values in state.items()}
        if shapes != {"beliefs": tuple(self.beliefs.shape)}:
            raise StaleArtifact(
                f"The saved memory has the shapes {shapes}.",
                expected=f"Expected beliefs of shape {tuple(self.beliefs.shape)}, rows by classes.",
                remedy="Resume with the table that the run began with, or begin again.",
            )
        self.beliefs = state["beliefs"].detach().to(self.beliefs, copy=True)


def _clamped(z: Tensor) -> Tensor:
    return z.softmax(1).clamp(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
