"""The one table of the log of decisions and the few questions asked of it, in SQL that both engines know.

A row is an event and line n of the journal is row n. Rows are only ever added: triggers refuse the rest.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
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

from kiyome.decisions.events import Batch, Event, Line
from kiyome.errors import DecisionConflict, InputError

METADATA = MetaData()
WHOLE = BigInteger().with_variant(Integer, "sqlite")
"""SQLite knows its row numbers, and its STRICT tables know whole numbers, by the name INTEGER only."""
EVENTS = Table(
    "decision_events",
    METADATA,
    Column("number", WHOLE, primary_key=True, autoincrement=False),
    Column("review", Text, nullable=False),
    Column("batch", Text, nullable=False),
    Column("place", WHOLE, nullable=False),
    Column("kind", Text, nullable=False),
    Column("undoes", Text),
    Column("reviewer", Text, nullable=False),
    Column("image_id", Text, nullable=False),
    Column("sequence", WHOLE, nullable=False),
    Column("verdict", Text),
    Column("label", Text),
    Column("run", Text, nullable=False),
    Column("table_content", Text, nullable=False),
    Column("seen", Text, nullable=False),
    Column("milliseconds", WHOLE),
    Column("decided_at", Text, nullable=False),
    # the review stands second, or SQLite would walk through all of it to find what is new
    UniqueConstraint("batch", "review", "place", name="one_act_for_a_key"),
    UniqueConstraint("image_id", "reviewer", "review", "sequence", name="one_event_for_a_version"),
    CheckConstraint("number >= 1 AND place >= 0 AND sequence >= 1", name="counted"),
    CheckConstraint("kind IN ('decide', 'undo', 'redo', 'import')", name="known_kind"),
    CheckConstraint("verdict IN ('keep', 'relabel', 'drop', 'unsure')", name="known_verdict"),
    CheckConstraint(
        "(label IS NOT NULL) = (verdict IS NOT NULL AND verdict = 'relabel')", name="label_with_relabel"
    ),
    sqlite_strict=True,
)
_OF_AN_EVENT = [column for column in EVENTS.columns if column.name not in ("review", "place")]
# built once: SQLAlchemy takes longer to build a question than SQLite to answer it
_OF_REVIEW = select(*_OF_AN_EVENT).where(EVENTS.c.review == bindparam("review")).order_by(EVENTS.c.number)
_AFTER = _OF_REVIEW.where(EVENTS.c.number > bindparam("number"))
_OF_BATCH = _OF_REVIEW.where(EVENTS.c.batch == bindparam("batch"))
_OF_IMAGES = _OF_REVIEW.where(
    EVENTS.c.reviewer == bindparam("reviewer"), EVENTS.c.image_id.in_(bindparam("image_ids", expanding=True))
)
_LINES_AFTER = (
    select(EVENTS.c.review, *_OF_AN_EVENT)
    .where(EVENTS.c.number > bindparam("number"))
    .order_by(EVENTS.c.number)
)
_LAST_NUMBER = select(func.coalesce(func.max(EVENTS.c.number), 0))
_INSERT = insert(EVENTS)
IDS_AT_ONCE = 5_000
"""Below the number of parameters that one statement may have."""


def append_batch(connection: Connection, review: str, batch: Batch, *, decided_at: str) -> list[Event]:
    """The events of a batch, written now or before; the connection must hold the right to write.

    Raises
    ------
    InputError
        When the key names another act, or an undo names a batch that this reviewer did not write.
    DecisionConflict
        When a row has another version than the act says.
    """
    before = events_of_batch(connection, review, batch.key)
    if before:
        _refuse_other_act(before, batch)
        return before
    _refuse_foreign_undo(connection, review, batch)
    _refuse_stale(_newest_events(connection, review, batch), batch)
    events = batch.events(number=last_number(connection) + 1, decided_at=decided_at)
    _insert(connection, [(review, event) for event in events])
    return events


def events_after(connection: Connection, review: str, number: int) -> list[Event]:
    """The events of a review that follow this number, in order of commit."""
    return _events(connection, _AFTER, review=review, number=number)


def events_of_batch(connection: Connection, review: str, key: str) -> list[Event]:
    """The events of one batch in the order of its acts; none when nothing was written with the key."""
    return _events(connection, _OF_BATCH, review=review, batch=key)


def lines_after(connection: Connection, number: int) -> list[Line]:
    """The events of all reviews that follow this number, in order of commit."""
    rows = connection.execute(_LINES_AFTER, {"number": number})
    return [(row.review, _event(row[1:])) for row in rows]


def last_number(connection: Connection) -> int:
    """The number of the newest event in the store; 0 for an empty one."""
    return connection.scalar(_LAST_NUMBER) or 0


def insert_into_empty(connection: Connection, lines: Sequence[Line]) -> None:
    """Add the events of a journal to a store that has none.

    Raises
    ------
    InputError
        When the store has events.
    """
    number = last_number(connection) if lines else 0
    if number:
        raise InputError(
            "A journal is restored into an empty store.",
            came=f"a store with {number:,} events",
            remedy="Move that store away, or name another.",
        )
    _insert(connection, lines)


def _insert(connection: Connection, lines: Sequence[Line]) -> None:
    """Events as they are; those of a batch follow one another."""
    rows: list[dict[str, Any]] = []
    for review, event in lines:
        follows = bool(rows) and (rows[-1]["review"], rows[-1]["batch"]) == (review, event.batch)
        place = rows[-1]["place"] + 1 if follows else 0
        rows.append(vars(event) | {"review": review, "place": place, "seen": json.dumps(event.seen)})
    if rows:
        connection.execute(_INSERT, rows)


def _events(connection: Connection, question: Select[Any], **asked: Any) -> list[Event]:
    return [_event(row) for row in connection.execute(question, asked)]


def _event(row: Row[Any] | Sequence[Any]) -> Event:
    values = dict(zip(_NAMES, row, strict=True))
    return Event(**values | {"seen": json.loads(values["seen"])})


_NAMES = [column.name for column in _OF_AN_EVENT]


def _newest_events(connection: Connection, review: str, batch: Batch) -> dict[str, Event]:
    """What this reviewer wrote last about each row of the batch."""
    ids = [act.image_id for act in batch.acts]
    of_reviewer = {"review": review, "reviewer": batch.reviewer}
    chunks = (ids[start : start + IDS_AT_ONCE] for start in range(0, len(ids), IDS_AT_ONCE))
    found = (_events(connection, _OF_IMAGES, image_ids=chunk, **of_reviewer) for chunk in chunks)
    return {event.image_id: event for events in found for event in events}  # a later event wins


def _refuse_other_act(before: Sequence[Event], batch: Batch) -> None:
    if Batch.of(before) != batch:
        raise InputError(
            "A key names one act.",
            came=f"the key {batch.key!a} with another act than before",
            remedy="Give each act a key of its own; only a repeated act has its old one.",
        )


def _refuse_foreign_undo(connection: Connection, review: str, batch: Batch) -> None:
    if batch.undoes is None:
        return
    undone = events_of_batch(connection, review, batch.undoes)
    if not undone or undone[0].reviewer != batch.reviewer:
        raise InputError(
            "One undoes and redoes acts of one's own.",
            came=f"{batch.kind} of {batch.undoes!a}, which {batch.reviewer!a} did not write",
            remedy="Name a batch of this reviewer.",
        )


def _refuse_stale(newest: dict[str, Event], batch: Batch) -> None:
    stale = [
        act.image_id
        for act in batch.acts
        if act.version != (newest[act.image_id].sequence if act.image_id in newest else 0)
    ]
    if stale:
        raise DecisionConflict(
            "A decision is about a row as its reviewer saw it.",
            came=f"{len(stale):,} of {len(batch.acts):,} rows that {batch.reviewer!a} decided elsewhere "
            f"since, {stale[0]!a} among them",
            remedy="Look at what stands now, and decide again.",
            current=_known(newest, stale),
        )


def _known(newest: dict[str, Event], image_ids: Iterable[str]) -> list[Event]:
    return [newest[image_id] for image_id in image_ids if image_id in newest]
