"""Photos decoded and resized once, kept as uint8 in mapped files, for every fold, member, epoch and process."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kiyome.progress import Progress, silent

Pixels = NDArray[np.uint8]
MARGIN = 1.15


@dataclass(frozen=True, kw_only=True)
class StoredSize:
    """How large photos are kept; never larger than they came."""

    side: int
    """Pixels of the short side; of both sides if `squash`."""
    squash: bool = False
    """Make the photo square, whatever its shape, as torchvision's Resize((S, S)) does."""


class CachedPhotos:
    """N photos, ready to be cut; a view of a row costs no copy."""

    reasons: tuple[str | None, ...]
    """N reasons why a photo cannot be read; None for a readable one."""
    shapes: NDArray[np.int64]
    """(N, 2) heights and widths as stored; zeros for an unreadable photo."""

    @property
    def readable(self) -> NDArray[np.bool_]:
        """(N,) mask of the photos that are stored."""
        raise NotImplementedError

    def pixels(self, row: int) -> Pixels:
        """Return the (H, W, 3) pixels of a row, mapped and read-only; checked the first time in a process."""
        raise NotImplementedError


def estimate_bytes(paths: Sequence[str | PathLike[str]], *, stored: StoredSize, folder: str | Path) -> int:
    """Return about how many bytes `cache_photos` would add to `folder`, from an even sample of the photos."""
    raise NotImplementedError


def cache_photos(
    paths: Sequence[str | PathLike[str]],
    *,
    stored: StoredSize,
    folder: str | Path,
    num_threads: int | None = None,
    on_progress: Progress = silent,
) -> CachedPhotos:
    """Return all photos, decoded and resized once and mapped from `folder`; unreadable ones are set aside."""
    raise NotImplementedError
