"""The open review that all routes share: its current decisions, and the queues that people page through."""

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.decisions.current import CurrentDecisions
from kiyome.decisions.items import ReviewItems, Secret, review_secret
from kiyome.decisions.store import DecisionStore, Event
from kiyome.reviewing.neighbors import Neighbors
from kiyome.reviewing.outlook import Outlooks, design_of
from kiyome.reviewing.queue import Queue, QueueFilter
from kiyome.reviewing.thumbnails import Thumbnails, built_in_background

MAX_SNAPSHOTS = 64
"""Queues that are kept for people who page through them; 100,000 rows take 0.4 MB."""


@dataclass(frozen=True, kw_only=True)
class QueueSnapshot:
    """A queue as it was when someone requested it: decisions do not move the rows that come next."""

    name: str
    rows: NDArray[np.int32]

    def page_at(self, row: int, count: int) -> int | None:
        """Return the start of the page that holds a row; None where the queue does not."""
        indices = np.flatnonzero(self.rows == row)
        return int(indices[0]) // count * count if len(indices) else None


@dataclass(frozen=True, kw_only=True, eq=False)
class ReviewSession:
    """One review, open."""

    items: ReviewItems
    store: DecisionStore
    secret: Secret
    thumbnails: Thumbnails
    neighbors: Neighbors | None
    csrf: str
    """The token that the page sends with each change; new whenever the server starts."""
    photo_key: str
    """Part of the addresses of photos that browsers may keep; new at each start, too."""
    name: str | None
    """The reviewer that the page suggests."""
    warnings: tuple[str, ...]
    queue: Queue
    outlooks: Outlooks | None
    """None where the review is blind."""
    _current: CurrentDecisions
    _snapshots: OrderedDict[str, QueueSnapshot] = field(default_factory=OrderedDict)
    _lock: RLock = field(default_factory=RLock)

    @contextmanager
    def current(self) -> Iterator[CurrentDecisions]:
        """The current decisions after every event in the store, for one thread at a time."""
        with self._lock:
            self._current.apply(self.store.events_after(self._current.last_number))
            yield self._current

    def take_snapshot(self, queue_filter: QueueFilter, me: str | None) -> QueueSnapshot:
        """Return the queue of this filter, kept under a name that the same rows get again."""
        with self.current() as current:
            rows = self.queue.rows(queue_filter, current, me=me).astype(np.int32)
        name = hashlib.sha256(rows.tobytes()).hexdigest()[:16]
        with self._lock:
            queue = self._snapshots.setdefault(name, QueueSnapshot(name=name, rows=rows))
            self._snapshots.move_to_end(name)
            while len(self._snapshots) > MAX_SNAPSHOTS:
                self._snapshots.popitem(last=False)
        return queue

    def snapshot(self, name: str) -> QueueSnapshot | None:
        """Return the queue of a name; None where it is no longer kept."""
        with self._lock:
            if name in self._snapshots:
                self._snapshots.move_to_end(name)
            return self._snapshots.get(name)

    def as_json(self, events: Iterable[Event]) -> list[dict[str, Any]]:
        """Return the decisions of events, as the page reads them."""
        return [
            {
                "row": self.items.row_of[event.image_id],
                "verdict": event.verdict,
                "label": event.label,
                "version": event.sequence,
            }
            for event in events
        ]


@contextmanager
def open_session(
    items: ReviewItems,
    store: DecisionStore,
    *,
    folder: Path,
    name: str | None = None,
    measure: float = 0.0,
) -> Iterator[ReviewSession]:
    """A session with all decisions so far, while thumbnails are made in the background.

    `folder` holds the secret of the review and the thumbnails; `name` is the reviewer that the page suggests;
    `measure` is the share of the looks, in the order `suspicion`, that go to random rows.
    """
    current, secret = CurrentDecisions(items), review_secret(folder)
    design = design_of(items, secret)
    current.apply(store.events_after())
    pack = folder / ("thumbnails-blind.bin" if items.blind else "thumbnails.bin")
    with built_in_background(items, pack) as thumbnails:
        yield ReviewSession(
            items=items,
            store=store,
            secret=secret,
            thumbnails=thumbnails,
            neighbors=None if items.features is None else Neighbors(items.features),
            csrf=secrets.token_urlsafe(24),
            photo_key=secrets.token_hex(4),
            name=name,
            warnings=tuple(_skipped(current)),
            queue=Queue(items, secret, design=design, share=measure),
            outlooks=None if design is None else Outlooks(items, design, measure),
            _current=current,
        )


def _skipped(current: CurrentDecisions) -> list[str]:
    if not current.num_skipped:
        return []
    warning = f"{current.num_skipped:,} decisions are skipped: their photos or classes are not in this table."
    return [f"{warning} `kiyome decisions repair {current.items.run}` removes them."]
