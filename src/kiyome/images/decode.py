"""Bytes to upright RGB pixels, or a plain reason why not."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Photo:
    """One decoded photo."""

    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB, upright, C-contiguous."""
    width: int
    """Width of the upright photo before any shrinking."""
    height: int
    """Height of the upright photo before any shrinking."""
    format: str
    """JPEG, PNG, WEBP, TIFF, GIF or BMP, by content and not by name."""
    findings: tuple[str, ...]
    """What a person may want to know about the file, in short plain words."""
