"""Features of photos in place of their pixels: what a head on a frozen network is trained on."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.images.reader import PhotoRecord

BLOCK = 4096


@dataclass(frozen=True, kw_only=True)
class Features:
    """Features of the readable photos among N, and the facts that were found about every photo."""

    values: NDArray[np.float16]
    """(R, D) features of the R readable photos in the order of the paths, mapped from disk, read-only."""
    records: tuple[PhotoRecord[Any], ...]
    """N records, one a path; those without facts carry the reason why the photo cannot be read."""
    num_embedded: int
    """Photos that went through the backbone in this pass; the others were cached or share their bytes."""
    notes: tuple[str, ...] = ()
    """Messages for the user: damaged parts of the cache that were computed anew."""

    @property
    def readable(self) -> NDArray[np.bool_]:
        """(N,) mask of the photos that have a row in `values`."""
        return np.array([record.facts is not None for record in self.records], bool)

    @property
    def reasons(self) -> tuple[str | None, ...]:
        """N reasons why a photo cannot be read; None for a readable one."""
        return tuple(record.reason for record in self.records)

    @cached_property
    def digest(self) -> str:
        """Digest of the values."""
        return hashlib.sha256(np.ascontiguousarray(self.values).data).hexdigest()

    @cached_property
    def mean_and_deviation(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(D,) mean and standard deviation of each feature; the deviation is 1 where it never changes."""
        sums, squares = np.zeros((2, self.values.shape[1]))
        for start in range(0, len(self.values), BLOCK):
            block = self.values[start : start + BLOCK].astype(np.float64)
            sums += block.sum(axis=0)
            squares += np.square(block).sum(axis=0)
        mean = sums / len(self.values)
        deviation = np.sqrt(np.maximum(squares / len(self.values) - np.square(mean), 0))
        deviation[deviation < 1e-6] = 1
        return mean.astype(np.float32), deviation.astype(np.float32)

    def of_rows(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.float16]:
        """Return the (n, D) features of readable rows among the N."""
        values: NDArray[np.float16] = self.values[self._places[rows]]
        return values

    def take(self, rows: NDArray[np.integer[Any]]) -> "Features":
        """Return the features and records of some of the N photos."""
        records = tuple(self.records[row] for row in rows)
        if len(records) == len(self.records):
            return self
        read = [row for row, record in zip(rows, records, strict=True) if record.facts is not None]
        return replace(self, values=self.of_rows(np.array(read, np.int64)), records=records)

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """(N,) row of `values`; that of the next readable photo where one cannot be read."""
        return np.cumsum(self.readable) - self.readable
