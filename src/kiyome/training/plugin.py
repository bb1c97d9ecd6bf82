"""Any transform of torchvision v2 as one more step of an augmentation."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kiyome.images.augment import Plugin


def from_torchvision(transform: Any) -> Plugin:
    """Return a torchvision v2 transform of uint8 images as a plug-in for `Augment`.

    Parameters
    ----------
    transform
        A callable from a (3, S, S) uint8 tensor to one of the same shape and type, such as `v2.AugMix()` or
        `v2.RandAugment()`. Its randomness comes from torch's generator alone, as in torchvision.

    Notes
    -----
    The plug-in sets torch's generator from its seed and puts it back afterwards, so that a view depends on
    seed, epoch and row here too. Such a step costs what it costs in torchvision, on one thread.

    Examples
    --------
    >>> from torchvision.transforms import v2
    >>> invert = from_torchvision(v2.RandomInvert(p=1.0))
    >>> invert(np.zeros((1, 1, 3), np.uint8), 7)
    array([[[255, 255, 255]]], dtype=uint8)
    """

    def plugin(pixels: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        image = torch.from_numpy(pixels).permute(2, 0, 1)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            changed: Tensor = transform(image)
        return np.asarray(changed.permute(1, 2, 0), np.uint8)

    return plugin
