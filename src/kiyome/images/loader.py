"""Batches of uint8 views from cached photos, or of their features; the same bits for any number of threads.

    order of (seed, epoch) ── rows of a batch ── views of (seed, epoch, row, view) ── threads ── Batch

Threads write views straight into a few reused buffers: no process, no pickle, no copy. Normalization and
mixing happen later, on the device.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kiyome.cores import num_cores
from kiyome.errors import InputError
from kiyome.images.augment import Augment, draw_views, load_cv2, render
from kiyome.images.draws import ORDER, PLUGIN, random_bits, random_seed
from kiyome.images.photo_features import Features
from kiyome.images.pixel_cache import CachedPhotos


class Batch(NamedTuple):
    """Some rows and a view of each."""

    rows: NDArray[np.int64]
    """(B,) rows of the table."""
    inputs: NDArray[Any]
    """(B, S, S, 3) uint8 RGB, or (B, D) features; valid until the next batch is taken, copy it to keep it."""


@dataclass(frozen=True, kw_only=True)
class Loader:
    """Batches over some rows of cached photos; an epoch can restart at any batch, with the same bits."""

    photos: CachedPhotos | Features
    """From `cache_photos` or `extract_features`; shared by all folds and members."""
    rows: NDArray[np.int64]
    """(n,) different rows of the table, all of them readable (`photos.readable`)."""
    augment: Augment
    """The distribution of views: random for training and TTA, ``crop="center"`` for evaluation."""
    batch_size: int
    """Rows of a batch, summed over all ranks."""
    seed: int = 0
    """Seed of the order and of the views."""
    shuffle: bool = False
    """A different order in each epoch; else the order of `rows`."""
    drop_last: bool = False
    """Leave out a last batch that is smaller than the others."""
    rank: int = 0
    num_ranks: int = 1
    """Processes that share each batch. A batch with less than two rows for each goes to all of them."""
    num_threads: int | None = None
    """By default one for each core that this process may use."""
    num_ahead: int = 2
    """Batches that are prepared in advance."""

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("num_ahead", 0), ("num_ranks", 1), ("num_threads", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name} is {value}, below {least}.", remedy=f"Raise {name}.")
        if not 0 <= self.rank < self.num_ranks:
            raise InputError(
                f"rank={self.rank} is outside 0 to {self.num_ranks - 1}.", remedy="Count ranks from 0."
            )
        _check_rows(self.rows, self.photos.readable)

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        num_rows = len(self.rows)
        return num_rows // self.batch_size if self.drop_last else -(-num_rows // self.batch_size)

    def weight(self, number: int) -> float:
        """Return the weight of this rank's mean over batch `number` when the means of all ranks are averaged.

        It is 1 where all ranks have as many rows: then the mean of means is the mean of the whole batch.
        """
        num_rows = min(self.batch_size, len(self.rows) - number * self.batch_size)
        if not self._is_shared(num_rows):
            return 1.0
        return len(range(self.rank, num_rows, self.num_ranks)) * self.num_ranks / num_rows

    def epoch(self, epoch: int = 0, *, view: int = 0, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch, from batch `start` on, with view number `view` of each photo.

        The bits depend on seed, epoch, row and view; not on threads, on other rows, or on earlier batches. n
        TTA views are ``loader.epoch(view=0)`` to ``loader.epoch(view=n - 1)``. StaleArtifact where a cached
        photo changed, MissingExtra without OpenCV.
        """
        if not 0 <= start <= len(self):
            raise InputError(
                f"start={start} is outside 0 to {len(self)} batches.", remedy="Start an epoch at 0."
            )
        load_cv2()
        return self._batches(epoch, view, start)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Return (n,) all rows in the order of an epoch."""
        if not self.shuffle:
            return self.rows
        return self.rows[np.argsort(random_bits(ORDER, self.seed, epoch, self.rows), kind="stable")]

    def _is_shared(self, num_rows: int) -> bool:
        """Whether the ranks share a batch of so many rows: BatchNorm needs two rows on each."""
        return num_rows >= 2 * self.num_ranks

    def _own(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows of a batch for this rank."""
        return rows[self.rank :: self.num_ranks] if self._is_shared(len(rows)) else rows

    def _batches(self, epoch: int, view: int, start: int) -> Iterator[Batch]:
        order = self.order(epoch)
        num_buffers = self.num_ahead + 1
        most = max(-(-self.batch_size // self.num_ranks), min(self.batch_size, 2 * self.num_ranks - 1))
        buffers = [self._buffer(most) for _ in range(num_buffers)]
        num_threads = self.num_threads or num_cores()
        waiting: deque[tuple[Batch, list[Future[None]]]] = deque()
        with ThreadPoolExecutor(num_threads, "kiyome-views") as pool:

            def prepare(number: int) -> None:
                rows = self._own(order[number * self.batch_size : (number + 1) * self.batch_size])
                batch = Batch(rows, buffers[number % num_buffers][: len(rows)])
                parts = [range(first, len(rows), num_threads) for first in range(num_threads)]
                fill = self._filler(batch, epoch, view)
                waiting.append((batch, [pool.submit(fill, part) for part in parts]))

            try:
                for number in range(start, min(start + num_buffers, len(self))):
                    prepare(number)
                for number in range(start, len(self)):
                    batch, futures = waiting.popleft()
                    for future in futures:
                        future.result()
                    yield self._after_plugin(batch, epoch, view)
                    if number + num_buffers < len(self):
                        prepare(number + num_buffers)  # into the buffer that is now free
            finally:
                for _, futures in waiting:
                    for future in futures:
                        future.cancel()

    def _buffer(self, num_rows: int) -> NDArray[Any]:
        if isinstance(self.photos, Features):
            return np.empty((num_rows, self.photos.values.shape[1]), self.photos.values.dtype)
        return np.empty((num_rows, self.augment.size, self.augment.size, 3), np.uint8)

    def _filler(self, batch: Batch, epoch: int, view: int) -> Callable[[range], None]:
        photos = self.photos
        if isinstance(photos, Features):
            return partial(_copy_features, photos, batch)
        shapes = photos.shapes[batch.rows]
        views = draw_views(self.augment, shapes, seed=self.seed, epoch=epoch, rows=batch.rows, view=view)

        def fill(part: range) -> None:
            for index in part:
                render(photos.pixels(int(batch.rows[index])), views, index, batch.inputs[index])

        return fill

    def _after_plugin(self, batch: Batch, epoch: int, view: int) -> Batch:
        """Return the batch after the plug-in, called from one thread: torch has one generator a process."""
        if self.augment.plugin:
            for index, row in enumerate(batch.rows.tolist()):
                seed = random_seed(PLUGIN, self.seed, epoch, row, view)
                batch.inputs[index] = self.augment.plugin(batch.inputs[index], seed)
        return batch


def _copy_features(features: Features, batch: Batch, part: range) -> None:
    batch.inputs[part] = features.of_rows(batch.rows[part])


def _check_rows(rows: NDArray[np.int64], readable: NDArray[np.bool_]) -> None:
    inside = (rows >= 0) & (rows < len(readable))
    if not inside.all():
        raise InputError(
            f"Row {rows[~inside][0]} is outside 0 to {len(readable) - 1}.", remedy="Correct the rows."
        )
    if not readable[rows].all():
        raise InputError(
            f"The photo of row {rows[~readable[rows]][0]} is unreadable.",
            remedy="Keep the rows where photos.readable.",
        )
    different, counts = np.unique(rows, return_counts=True)
    if len(different) < len(rows):
        raise InputError(
            f"Row {different[counts > 1][0]} occurs twice.",
            remedy="Give the row more weight in the loss instead.",
        )
