"""Batches of uint8 views from cached photos, the same bits whatever the number of threads.

    order of (seed, epoch) ── rows of a batch ── views of (seed, epoch, row, view) ── threads ── Batch

Threads write views straight into a few buffers that are used again and again: no process, no pickle, no copy.
Normalization and mixing happen later, on the device.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kiyome.images.augment import Augment
from kiyome.images.pixel_cache import CachedPhotos


class Batch(NamedTuple):
    """Some rows and a view of each."""

    rows: NDArray[np.int64]
    """(B,) rows of the table."""
    pixels: NDArray[np.uint8]
    """(B, S, S, 3) RGB; valid until the next batch is taken, copy it to keep it."""


@dataclass(frozen=True, kw_only=True)
class Loader:
    """Batches over some rows of cached photos; an epoch can be started anew at any batch, with the same bits."""

    photos: CachedPhotos
    """From `cache_photos`; one for all folds and members."""
    rows: NDArray[np.int64]
    """(n,) rows of the table; all of them are readable (`photos.readable`)."""
    augment: Augment
    """What a view is: random for training and TTA, `Augment(size=..., crop="center")` for evaluation."""
    batch_size: int
    seed: int = 0
    """Of the shuffling and of the views: the run's and the member's."""
    shuffle: bool = False
    """An order of its own in each epoch; else the order of `rows`."""
    drop_last: bool = False
    """Leave a last batch out that has fewer rows than the others."""
    rank: int = 0
    num_ranks: int = 1
    """Processes that share each epoch; `batch_size` is that of one. Use `drop_last` to keep them in step."""
    num_threads: int | None = None
    """One for each core that this process may use, if not given."""
    num_ahead: int = 2
    """Batches that are made ready before they are asked for."""

    def __len__(self) -> int:
        """How many batches an epoch has."""
        raise NotImplementedError

    def epoch(self, epoch: int = 0, *, view: int = 0, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch, from batch `start` on, with view number `view` of each photo.

        n TTA views are ``loader.epoch(view=0)`` to ``loader.epoch(view=n - 1)``.
        """
        raise NotImplementedError
