"""Random views of photos in uint8: where to cut, which way round, which colors, what to hide."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Plugin = Callable[[Pixels, int], Pixels]
"""(S, S, 3) pixels and a seed -> (S, S, 3) pixels; `training.mixing.from_torchvision` makes one."""


@dataclass(frozen=True, kw_only=True)
class Augment:
    """What a view of a photo is; the defaults leave colors alone."""

    size: int
    """Height and width of a view in pixels."""
    crop: str = "random"
    """`random` is RandomResizedCrop; `center` is the largest center square times `crop_pct`; `whole` squashes."""
    crop_pct: float = 0.875
    """Side of the center crop as a share of the photo's short side."""
    scale: tuple[float, float] = (0.08, 1.0)
    """Least and largest share of the photo's area that a random crop takes."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Least and largest width / height of a random crop."""
    horizontal_flip: float = 0.0
    """Probability."""
    vertical_flip: float = 0.0
    """Probability."""
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    """Each factor lies in 1 - value to 1 + value, as in torchvision's ColorJitter."""
    hue: float = 0.0
    """At most this share of a full turn either way; at most 0.5."""
    cutout: float = 0.0
    """Probability that a box is hidden."""
    cutout_scale: tuple[float, float] = (0.02, 0.33)
    """Least and largest share of the view that the box takes."""
    cutout_ratio: tuple[float, float] = (0.3, 3.3)
    """Least and largest height / width of the box."""
    cutout_color: tuple[int, int, int] = (124, 116, 104)
    """RGB of the box; the mean of ImageNet, near zero once normalized."""
    plugin: Plugin | None = None
    """One more step, on the caller's thread."""
