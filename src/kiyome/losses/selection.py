"""Which samples of a batch to learn from, by their losses."""

import torch
from torch import Tensor

from kiyome.losses.per_sample import check_number


def keep_small_losses(losses: Tensor, *, epoch: int, warmup_epochs: int = 5, num_omitted: int = 1) -> Tensor:
    """A mask (N,), False at the `num_omitted` largest losses of the batch once the warm-up is over.

    Late in training, the largest losses of a batch are mostly wrong labels. Take ``losses[mask].mean()``.

    Parameters
    ----------
    losses
        (N,), one number per sample, of any loss.
    epoch
        Counted from 0; up to and without `warmup_epochs` everything is kept.
    num_omitted
        How many to leave out of each batch; at least one sample is kept, so a batch of one stays whole.

    Notes
    -----
    Also called OUSM (online uncertainty sample mining). The same number out of a smaller batch is a larger
    share: 1 of 16 was too many in the cassava solution that reports it. A loss that is not a number is kept,
    so that it is seen and not masked. (Hard-example mining keeps the largest: the opposite.)

    Examples
    --------
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
