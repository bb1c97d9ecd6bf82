"""Two photos in one: MixUp and CutMix by torchvision, SnapMix from its paper; a plug-in for other transforms."""

from typing import Any, NamedTuple

from torch import Tensor, nn

from kiyome.images.augment import Plugin


class Mixed(NamedTuple):
    """A batch to train on: ``loss = (mixed.weights * loss_fn(model(mixed.images), mixed.targets)).mean()``."""

    images: Tensor
    """(N, C, H, W) floats."""
    targets: Tensor
    """(N, K) soft targets whose rows sum to one."""
    weights: Tensor
    """(N,) of the loss; ones but for SnapMix, whose two label weights need not sum to one."""


def mix_up(images: Tensor, targets: Tensor, *, seed: int, alpha: float = 1.0) -> Mixed:
    """Return each image blended with the one before it in the batch."""
    raise NotImplementedError


def cut_mix(images: Tensor, targets: Tensor, *, seed: int, alpha: float = 1.0) -> Mixed:
    """Return each image with a box from the one before it in the batch."""
    raise NotImplementedError


def snap_mix(images: Tensor, targets: Tensor, *, seed: int, model: nn.Module, beta: float = 5.0) -> Mixed:
    """Return each image with a box from the one before it; labels weigh what of their object is seen."""
    raise NotImplementedError


def from_torchvision(transform: Any) -> Plugin:
    """Return a torchvision v2 transform of uint8 images as a plug-in for `Augment`."""
    raise NotImplementedError
