"""What training itself says about each row, from the forward passes it makes anyway. N rows, E epochs.

A row with a wrong label is learned late and against its neighbors: its margin stays low, its loss high, and
the network keeps predicting another class (Pleiss et al. 2020, arXiv 2001.10528, for the margin).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class EpochDynamics:
    """One epoch of one member; NaN where a row was not trained on. In training, not in evaluation mode."""

    margins: Tensor
    """(N,) score of the row's label minus the highest other one; negative where another class is likelier."""
    losses: Tensor
    """(N,) the loss that was minimized."""

    @classmethod
    def start(cls, num_rows: int, device: torch.device | str = "cpu") -> "EpochDynamics":
        """Nothing seen yet."""
        return cls(
            margins=torch.full((num_rows,), torch.nan, device=device),
            losses=torch.full((num_rows,), torch.nan, device=device),
        )

    def record(self, rows: Tensor, scores: Tensor, labels: Tensor, losses: Tensor) -> None:
        """Take up what a training step saw: (n,) rows, (n, K) scores, (n,) labels and losses."""
        self.margins.index_copy_(0, rows, margins_of(scores, labels))
        self.losses.index_copy_(0, rows, losses.detach().float())


def margins_of(scores: Tensor, labels: Tensor) -> Tensor:
    """The score, mostly the logit, of each label minus the highest other one (n,).

    >>> margins_of(torch.tensor([[1.0, 2.0, 3.0], [6.0, 5.0, 4.0]]), torch.tensor([1, 0]))
    tensor([-1.,  1.])
    """
    z = scores.detach().float()
    own = z.gather(1, labels[:, None])
    others = z.scatter(1, labels[:, None], -torch.inf)
    return own.squeeze(1) - others.amax(1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Dynamics:
    """What all epochs of all members say about each row; NaN where a row was never trained on."""

    area_under_margin: NDArray[np.float32]
    """(N,) mean margin over epochs and members; low is suspicious."""
    mean_loss: NDArray[np.float32]
    """(N,)"""
    wrong_share: NDArray[np.float32]
    """(N,) share of the passes in which the likeliest class was not the row's label."""
    passes: NDArray[np.int64]
    """(N,) how many passes there were."""


def summarize_dynamics(
    margins: Sequence[NDArray[np.float32]], losses: Sequence[NDArray[np.float32]]
) -> Dynamics:
    """The dynamics of each row over many epochs (N,) of one or of several members.

    Examples
    --------
    >>> nan = np.float32("nan")
    >>> margins = [np.float32([1, -2]), np.float32([3, -4]), np.float32([nan, 6])]
    >>> found = summarize_dynamics(margins, [np.ones(2, np.float32)] * 2 + [np.float32([nan, 1])])
    >>> found.area_under_margin, found.wrong_share.round(2), found.passes
    (array([2., 0.], dtype=float32), array([0.  , 0.67], dtype=float32), array([2, 3]))
    """
    num_rows = len(margins[0])
    sums = {name: np.zeros(num_rows) for name in ("margin", "loss", "wrong", "passes")}
    for margin, loss in zip(margins, losses, strict=True):
        seen = ~np.isnan(margin)
        sums["margin"][seen] += margin[seen]
        sums["loss"][seen] += loss[seen]
        sums["wrong"][seen] += margin[seen] < 0
        sums["passes"][seen] += 1
    with np.errstate(invalid="ignore"):
        means = {name: (total / sums["passes"]).astype(np.float32) for name, total in sums.items()}
    return Dynamics(
        area_under_margin=means["margin"],
        mean_loss=means["loss"],
        wrong_share=means["wrong"],
        passes=sums["passes"].astype(np.int64),
    )
