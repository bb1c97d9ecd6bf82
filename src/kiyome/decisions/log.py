"""A log of decisions that is open: an engine, the journal beside it, and the right to write both in turn."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from sqlalchemy import Connection, Engine

from kiyome.decisions.engine import (
    bring_up_to_date,
    check_version,
    journal_of,
    new_engine,
    reaching,
    refuse_foreign,
    transaction,
    url_of,
)
from kiyome.decisions.events import Line
from kiyome.decisions.journal import complete, held, refuse_gaps
from kiyome.decisions.journal import refuse_foreign as refuse_foreign_journal
from kiyome.decisions.tables import insert_into_empty, last_number, lines_after


@dataclass(frozen=True, kw_only=True, eq=False)
class Log:
    """All reviews of one store; made by `open_log`, safe in many threads and beside other processes."""

    engine: Engine
    journal: Path | None
    lock: Lock = field(default_factory=Lock)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees what is written now, and does not keep writers waiting."""
        with reaching(self.engine), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is in the database, then in the journal, when the block has ended well."""
        with reaching(self.engine), self.holding_journal() as journal:
            with transaction(self.engine) as connection:
                yield connection
            if journal:
                with self.engine.connect() as connection:
                    complete(journal, partial(lines_after, connection))

    def prepare(self, lines: Sequence[Line]) -> None:
        """Make or update the tables, add the lines to a log without events, bring the journal along."""
        with reaching(self.engine), self.holding_journal() as journal:
            with bring_up_to_date(self.engine) as connection:
                insert_into_empty(connection, lines)
            if journal:
                with self.engine.connect() as connection:
                    complete(journal, partial(lines_after, connection))
                    refuse_gaps(journal, last_number(connection))

    @contextmanager
    def holding_journal(self) -> Iterator[BinaryIO | None]:
        """The journal of a SQLite store while no other writer has it: the lock of all, in any process."""
        if self.journal is None:
            with self.lock:
                yield None
        else:
            with held(self.journal) as journal:
                yield journal

    def close(self) -> None:
        """Let go of the connections; the last one to close tidies the file of SQLite, hence the lock."""
        with reaching(self.engine), self.holding_journal():
            self.engine.dispose()


def open_log(store: str | Path, lines: Sequence[Line] = ()) -> Log:
    """The log at a path or URL, made if need be; lines are added where it has no events yet."""
    url = url_of(store)
    check_version(url)
    log = Log(engine=new_engine(url), journal=journal_of(url))
    try:
        if log.journal and url.database:
            database = Path(url.database)
            with reaching(log.engine):
                refuse_foreign(database)
                refuse_foreign_journal(log.journal, database=None if lines else database)
        log.prepare(lines)
    except BaseException:
        log.engine.dispose()
        raise
    return log
