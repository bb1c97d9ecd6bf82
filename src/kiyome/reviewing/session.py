"""What the routes work at: one review, what stands of it now, and the queues that people go through."""

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

from kiyome.decisions.current import Standing
from kiyome.decisions.items import Secret, Subject, review_secret
from kiyome.decisions.store import DecisionStore, Event
from kiyome.reviewing.neighbors import Neighbors
from kiyome.reviewing.queue import Asked, Queue
from kiyome.reviewing.thumbnails import Thumbnails, made_in_background

MOST_QUEUES = 64
"""Orders that are kept for those who page through them; 100,000 rows take 0.4 MB."""


@dataclass(frozen=True, kw_only=True)
class FrozenQueue:
    """A queue as it was when someone asked for it: deciding does not move the rows that come next."""

    name: str
    rows: NDArray[np.int32]

    def page_at(self, row: int, count: int) -> int | None:
        """Where the page starts that holds a row; None where the queue does not."""
        places = np.flatnonzero(self.rows == row)
        return int(places[0]) // count * count if len(places) else None


@dataclass(frozen=True, kw_only=True, eq=False)
class Desk:
    """One review, open."""

    subject: Subject
    store: DecisionStore
    secret: Secret
    thumbnails: Thumbnails
    neighbors: Neighbors | None
    csrf: str
    """What the page says when it changes something; new whenever the server starts."""
    photo_key: str
    """Part of the addresses of photos that browsers may keep; new at each start, too."""
    name: str | None
    """Whom the page suggests as the reviewer."""
    warnings: tuple[str, ...]
    queue: Queue
    _standing: Standing
    _frozen: OrderedDict[str, FrozenQueue] = field(default_factory=OrderedDict)
    _lock: RLock = field(default_factory=RLock)

    @contextmanager
    def standing(self) -> Iterator[Standing]:
        """What stands after every event in the store, those of other servers too; for one at a time."""
        with self._lock:
            self._standing.take(self.store.events_after(self._standing.last_number))
            yield self._standing

    def freeze(self, asked: Asked, me: str | None) -> FrozenQueue:
        """The queue that was asked for, kept under a name that the same rows get again."""
        with self.standing() as standing:
            rows = self.queue.rows(asked, standing, me=me).astype(np.int32)
        name = hashlib.sha256(rows.tobytes()).hexdigest()[:16]
        with self._lock:
            queue = self._frozen.setdefault(name, FrozenQueue(name=name, rows=rows))
            self._frozen.move_to_end(name)
            while len(self._frozen) > MOST_QUEUES:
                self._frozen.popitem(last=False)
        return queue

    def frozen(self, name: str) -> FrozenQueue | None:
        """The queue of a name; None where it is no longer kept."""
        with self._lock:
            if name in self._frozen:
                self._frozen.move_to_end(name)
            return self._frozen.get(name)

    def written(self, events: Iterable[Event]) -> list[dict[str, Any]]:
        """What stands after events of one reviewer, as the page wants it."""
        return [
            {
                "row": self.subject.row_of[event.image_id],
                "verdict": event.verdict,
                "label": event.label,
                "version": event.sequence,
            }
            for event in events
        ]


@contextmanager
def open_desk(
    subject: Subject, store: DecisionStore, *, folder: Path, name: str | None = None
) -> Iterator[Desk]:
    """A desk at which everything that was decided before stands already; thumbnails are made meanwhile.

    Parameters
    ----------
    subject, store
        What is reviewed, and the decisions about it.
    folder
        Where the secret of the review and the pack of thumbnails are kept.
    name
        Whom the page suggests as the reviewer.
    """
    standing, secret = Standing(subject), review_secret(folder)
    standing.take(store.events_after())
    pack = folder / ("thumbnails-blind.bin" if subject.blind else "thumbnails.bin")
    with made_in_background(subject, pack) as thumbnails:
        yield Desk(
            subject=subject,
            store=store,
            secret=secret,
            thumbnails=thumbnails,
            neighbors=None if subject.features is None else Neighbors(subject.features),
            csrf=secrets.token_urlsafe(24),
            photo_key=secrets.token_hex(4),
            name=name,
            warnings=tuple(_skipped(standing)),
            queue=Queue(subject, secret),
            _standing=standing,
        )


def _skipped(standing: Standing) -> list[str]:
    if not standing.num_skipped:
        return []
    told = f"{standing.num_skipped:,} decisions are skipped: their photos or classes are not in this table."
    return [f"{told} `kiyome decisions {standing.subject.run} --repair` takes them out."]
