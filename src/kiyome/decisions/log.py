"""The log of decisions: one table in SQL for both engines, and the lock to write it and its journal.

A row is an event and line n of the journal is row n. Rows are only ever added: triggers refuse the rest.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    Row,
    Select,
    Table,
    Text,
    UniqueConstraint,
    bindparam,
    func,
    insert,
    select,
)

from kiyome.decisions.engine import (
    bring_up_to_date,
    check_version,
    journal_of,
    new_engine,
    refuse_foreign,
    store_errors,
    transaction,
    url_of,
)
from kiyome.decisions.events import Batch, Event, Line
from kiyome.decisions.journal import complete, locked_journal, refuse_gaps
from kiyome.decisions.journal import refuse_foreign as refuse_foreign_journal
from kiyome.errors import DecisionConflict, InputError

METADATA = MetaData()
INTEGER = BigInteger().with_variant(Integer, "sqlite")
"""SQLite takes no other name for row numbers and for whole numbers in STRICT tables."""
EVENTS = Table(
    "decision_events",
    METADATA,
    Column("number", INTEGER, primary_key=True, autoincrement=False),
    Column("review", Text, nullable=False),
    Column("batch", Text, nullable=False),
    Column("place", INTEGER, nullable=False),
    Column("kind", Text, nullable=False),
    Column("undoes", Text),
    Column("reviewer", Text, nullable=False),
    Column("image_id", Text, nullable=False),
    Column("sequence", INTEGER, nullable=False),
    Column("verdict", Text),
    Column("label", Text),
    Column("run", Text, nullable=False),
    Column("table_content", Text, nullable=False),
    Column("seen", Text, nullable=False),
    Column("milliseconds", INTEGER),
    Column("decided_at", Text, nullable=False),
    # the review comes second, or SQLite would scan all of it to find what is new
    UniqueConstraint("batch", "review", "place", name="one_act_for_a_key"),
    UniqueConstraint("image_id", "reviewer", "review", "sequence", name="one_event_for_a_version"),
    CheckConstraint("number >= 1 AND place >= 0 AND sequence >= 1", name="counted"),
    CheckConstraint("kind IN ('decide', 'undo', 'redo', 'import')", name="known_kind"),
    CheckConstraint(
        "verdict IN ('keep', 'relabel', 'both', 'none_of_these', 'drop', 'unsure')", name="known_verdict"
    ),
    CheckConstraint(
        "(label IS NOT NULL) = (verdict IS NOT NULL AND verdict = 'relabel')", name="label_with_relabel"
    ),
    sqlite_strict=True,
)
_EVENT_COLUMNS = [column for column in EVENTS.columns if column.name not in ("review", "place")]
# built once: SQLAlchemy takes longer to build a query than SQLite to answer it
_OF_REVIEW = select(*_EVENT_COLUMNS).where(EVENTS.c.review == bindparam("review")).order_by(EVENTS.c.number)
_AFTER = _OF_REVIEW.where(EVENTS.c.number > bindparam("number"))
_OF_BATCH = _OF_REVIEW.where(EVENTS.c.batch == bindparam("batch"))
_OF_IMAGES = _OF_REVIEW.where(
    EVENTS.c.reviewer == bindparam("reviewer"), EVENTS.c.image_id.in_(bindparam("image_ids", expanding=True))
)
_LINES_AFTER = (
    select(EVENTS.c.review, *_EVENT_COLUMNS)
    .where(EVENTS.c.number > bindparam("number"))
    .order_by(EVENTS.c.number)
)
_LAST_NUMBER = select(func.coalesce(func.max(EVENTS.c.number), 0))
_INSERT = insert(EVENTS)
IDS_AT_ONCE = 5_000
"""Below the number of parameters that one statement may have."""


def append_batch(connection: Connection, review: str, batch: Batch, *, decided_at: str) -> list[Event]:
    """Return the events of a batch, written now or before; the connection must hold the write lock."""
    before = events_of_batch(connection, review, batch.key)
    if before:
        _refuse_reused_key(before, batch)
        return before
    _refuse_foreign_undo(connection, review, batch)
    _refuse_stale(_newest_events(connection, review, batch), batch)
    events = batch.events(number=last_number(connection) + 1, decided_at=decided_at)
    _insert(connection, [(review, event) for event in events])
    return events


def events_after(connection: Connection, review: str, number: int) -> list[Event]:
    """Return the events of a review after this number, in order of commit."""
    return _events(connection, _AFTER, review=review, number=number)


def events_of_batch(connection: Connection, review: str, key: str) -> list[Event]:
    """Return the events of one batch in its order; none where nothing was written with the key."""
    return _events(connection, _OF_BATCH, review=review, batch=key)


def lines_after(connection: Connection, number: int) -> list[Line]:
    """Return the events of all reviews after this number, in order of commit."""
    rows = connection.execute(_LINES_AFTER, {"number": number})
    return [(row.review, _event(row[1:])) for row in rows]


def last_number(connection: Connection) -> int:
    """Return the number of the newest event in the store; 0 for an empty one."""
    return connection.scalar(_LAST_NUMBER) or 0


def insert_into_empty(connection: Connection, lines: Sequence[Line]) -> None:
    """Add the events of a journal to a store that has none."""
    number = last_number(connection) if lines else 0
    if number:
        raise InputError(
            f"The store to restore into already has {number:,} events.",
            expected="Expected an empty store.",
            remedy="Move that store away, or name another one with --store.",
        )
    _insert(connection, lines)


def _insert(connection: Connection, lines: Sequence[Line]) -> None:
    """Add events as they are; those of a batch follow one another."""
    rows: list[dict[str, Any]] = []
    for review, event in lines:
        follows = bool(rows) and (rows[-1]["review"], rows[-1]["batch"]) == (review, event.batch)
        place = rows[-1]["place"] + 1 if follows else 0
        rows.append(vars(event) | {"review": review, "place": place, "seen": json.dumps(event.seen)})
    if rows:
        connection.execute(_INSERT, rows)


def _events(connection: Connection, query: Select[Any], **values: Any) -> list[Event]:
    return [_event(row) for row in connection.execute(query, values)]


def _event(row: Row[Any] | Sequence[Any]) -> Event:
    values = dict(zip(_NAMES, row, strict=True))
    return Event(**values | {"seen": json.loads(values["seen"])})


_NAMES = [column.name for column in _EVENT_COLUMNS]


def _newest_events(connection: Connection, review: str, batch: Batch) -> dict[str, Event]:
    """Return the newest event of this reviewer about each row of the batch, by image id."""
    ids = [decision.image_id for decision in batch.decisions]
    of_reviewer = {"review": review, "reviewer": batch.reviewer}
    chunks = (ids[start : start + IDS_AT_ONCE] for start in range(0, len(ids), IDS_AT_ONCE))
    found = (_events(connection, _OF_IMAGES, image_ids=chunk, **of_reviewer) for chunk in chunks)
    return {event.image_id: event for events in found for event in events}  # a later event wins


def _refuse_reused_key(before: Sequence[Event], batch: Batch) -> None:
    if Batch.of(before) != batch:
        raise InputError(
            f"The key {batch.key!a} was used before for another batch.",
            expected="The same key means the same decisions, sent again.",
            remedy="Choose a new key for each batch.",
        )


def _refuse_foreign_undo(connection: Connection, review: str, batch: Batch) -> None:
    if batch.undoes is None:
        return
    undone = events_of_batch(connection, review, batch.undoes)
    if not undone or undone[0].reviewer != batch.reviewer:
        raise InputError(
            f"{batch.kind} of {batch.undoes!a}, which {batch.reviewer!a} did not write.",
            expected="Reviewers undo and redo only batches of their own.",
            remedy="Name a batch of this reviewer.",
        )


def _refuse_stale(newest: dict[str, Event], batch: Batch) -> None:
    stale = [
        decision.image_id
        for decision in batch.decisions
        if decision.version != (newest[decision.image_id].sequence if decision.image_id in newest else 0)
    ]
    if stale:
        raise DecisionConflict(
            f"{len(stale):,} of {len(batch.decisions):,} rows have newer decisions by {batch.reviewer!a}, "
            f"such as {stale[0]!a}.",
            expected="Expected the version of the row that is current.",
            remedy="Look at the current decisions, and decide again.",
            current=[newest[image_id] for image_id in stale if image_id in newest],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Log:
    """All reviews of one store, open; made by `open_log`, safe in many threads and beside other processes."""

    engine: Engine
    journal: Path | None
    lock: Lock = field(default_factory=Lock)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees what is written now and does not block writers."""
        with store_errors(self.engine), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is in the database, then in the journal, once the block ends without error."""
        with store_errors(self.engine), self.holding_journal() as journal:
            with transaction(self.engine) as connection:
                yield connection
            if journal:
                with self.engine.connect() as connection:
                    complete(journal, partial(lines_after, connection))

    def prepare(self, lines: Sequence[Line]) -> None:
        """Create or migrate the table, add the lines to a log without events, and complete the journal."""
        with store_errors(self.engine), self.holding_journal() as journal:
            with bring_up_to_date(self.engine) as connection:
                insert_into_empty(connection, lines)
            if journal:
                with self.engine.connect() as connection:
                    complete(journal, partial(lines_after, connection))
                    refuse_gaps(journal, last_number(connection))

    @contextmanager
    def holding_journal(self) -> Iterator[BinaryIO | None]:
        """The journal of a SQLite store, locked: it is the write lock of all processes."""
        if self.journal is None:
            with self.lock:
                yield None
        else:
            with locked_journal(self.journal) as journal:
                yield journal

    def close(self) -> None:
        """Close the connections; the last one to close checkpoints the file of SQLite, hence the lock."""
        with store_errors(self.engine), self.holding_journal():
            self.engine.dispose()


def open_log(store: str | Path, lines: Sequence[Line] = ()) -> Log:
    """Return the log at a path or URL, created if absent; lines are added where it has no events yet."""
    url = url_of(store)
    check_version(url)
    log = Log(engine=new_engine(url), journal=journal_of(url))
    try:
        if log.journal and url.database:
            database = Path(url.database)
            with store_errors(log.engine):
                refuse_foreign(database)
                refuse_foreign_journal(log.journal, database=None if lines else database)
        log.prepare(lines)
    except BaseException:
        log.engine.dispose()
        raise
    return log
