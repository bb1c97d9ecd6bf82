"""N x K in chunks: one read of each, then a few questions whose answers add up. N rows, K classes.

    chunks = Chunks.read([(labels, pred_probs), ...])
    chunks.rows                 order N, joined in order
    chunks.joint()              K x K counts, added
    chunks.suspects(wanted)     the strongest rows of each cell, merged
    chunks.leads(given, trues)  only where a cut falls among equals

Whatever the cutting, results are those of one array, to the last bit: an array in memory is one chunk. `run`
says who does the work; every function it is given takes one chunk's arrays and returns arrays or sums.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import repeat
from operator import add
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kiyome.checks import Labels, Numbers, check_chunks
from kiyome.noise.confident_joint import (
    JointCounts,
    Places,
    count_joint,
    mean_self_confidence,
    place_rows,
)
from kiyome.noise.pruning import Suspects, class_leads, find_suspects
from kiyome.noise.reading import KeptRows, join_kept, read_kept

Run = Callable[..., Iterable[Any]]
"""Like `map`: calls a function with the next item of each iterable, and gives the results in order."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Chunks:
    """Chunks of one table in its order, each read once."""

    parts: tuple[KeptRows, ...]
    pred_probs: tuple[Any, ...]
    """Arrays (n, K), or what `run` turns into them where it calls."""
    first_rows: tuple[int, ...]
    run: Run = map

    @classmethod
    def read(cls, chunks: Iterable[tuple[ArrayLike, ArrayLike]], *, run: Run = map) -> "Chunks":
        """The chunks (labels, pred_probs), once every one is sound.

        Raises
        ------
        InputError
            Chunks of different types or numbers of classes, or arrays that break a stated rule. The message
            names the first bad row of probabilities by its number in the table.
        """
        labels, pred_probs, first_rows = check_chunks(chunks)
        parts = tuple(run(read_kept, labels, pred_probs, first_rows))
        return cls(parts=parts, pred_probs=pred_probs, first_rows=first_rows, run=run)

    @cached_property
    def rows(self) -> KeptRows:
        """The kept classes of all rows."""
        return join_kept(self.parts)

    @cached_property
    def thresholds(self) -> Numbers:
        """The confident thresholds (K,)."""
        return mean_self_confidence(self.rows)

    def places(self) -> Places:
        """The class (N,) that each row is confidently placed in, or NOWHERE."""
        return np.concatenate(list(self._places()))

    def joint(self) -> JointCounts:
        """The counts of all placed rows."""
        return reduce(add, map(count_joint, self.parts, self._places()))

    def _places(self) -> Iterable[Places]:
        return self.run(place_rows, self.parts, self.pred_probs, repeat(self.thresholds))

    def suspects(self, wanted: Numbers) -> Suspects:
        """For each pair of classes, the `wanted` rows (K, K) [true, given] of largest lead."""
        found: Iterable[Suspects] = self.run(
            find_suspects, self.parts, self.pred_probs, repeat(wanted), self.first_rows
        )
        return reduce(add, found)

    def leads(self, given: int, trues: Labels) -> Iterator[Numbers]:
        """For each of the classes `trues`, its lead over `given` in all rows labeled so."""
        for true in trues:
            leads = self.run(class_leads, self.parts, self.pred_probs, repeat(given), repeat(true))
            yield np.concatenate(list(leads))
