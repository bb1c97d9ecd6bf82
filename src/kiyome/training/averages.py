"""Averages of weights: a moving one along training, and the plain mean of several epochs.

BatchNorm's statistics are averaged with the weights: statistics of one moment would not fit averaged weights.
"""

import copy
import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


def derive_seed(*parts: int | str) -> int:
    """A seed of 63 bits that these parts alone decide.

    >>> derive_seed(0, "fold", 1) == derive_seed(0, "fold", 1) != derive_seed(0, "fold", 2)
    True
    """
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def start_average(module: nn.Module) -> nn.Module:
    """A copy of the module that `move_average` moves along; it never learns by itself.

    >>> module = nn.Linear(1, 1)
    >>> average = start_average(module)
    >>> any(parameter.requires_grad for parameter in average.parameters())
    False
    """
    return copy.deepcopy(module).eval().requires_grad_(False)  # noqa: FBT003


def move_average(average: nn.Module, module: nn.Module, *, decay: float, step: int) -> None:
    """Move each weight and buffer of `average` towards those of `module`: average <- d average + (1-d) new.

    Parameters
    ----------
    average, module
        Of the same architecture; buffers that are counts are copied.
    decay
        d in the long run.
    step
        Steps of the optimizer before this one. Early on d is (1 + step) / (10 + step), as in TensorFlow, so
        that a short training does not end with the weights that it began with.

    Examples
    --------
    >>> one, other = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.ones_(other.weight), nn.init.zeros_(one.weight)
    >>> move_average(one, other, decay=0.9, step=1000)
    >>> one.weight.item()
    0.10000000149011612
    """
    kept, new = (list(each.state_dict().values()) for each in (average, module))
    floats = [place for place, value in enumerate(kept) if value.is_floating_point()]
    for place, value in enumerate(kept):
        if not value.is_floating_point():
            value.copy_(new[place])
    move = get_ema_multi_avg_fn(min(decay, (1 + step) / (10 + step)))
    move([kept[place] for place in floats], [new[place] for place in floats], step)


def mean_of_weights(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of several states of one network, name by name; counts are those of the last.

    >>> mean_of_weights([{"w": torch.tensor([1.0])}, {"w": torch.tensor([2.0])}])
    {'w': tensor([1.5000])}
    """
    last = states[-1]
    return {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in last.items()
    }
