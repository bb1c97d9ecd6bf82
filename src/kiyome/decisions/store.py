"""Who decided what about a row, when, having seen what: an append-only log in SQLite or PostgreSQL.

Nothing is ever changed or removed. The current decisions are a fold of the events (current.py); an undo is
one more event. A decision that `append` returned survives a kill and a power cut.

    RUN/review/
      decisions.sqlite   the log (log.py), one table, at its newest revision (migrations/)
      decisions.jsonl    the same events as lines (journal.py), to rebuild the log from
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self

from kiyome.artifacts.storage import writing
from kiyome.decisions.events import (
    Batch,
    Decision,
    Event,
    Kind,
    Line,
    Verdict,
    refuse_text,
    refuse_unknown_labels,
    reviewer_name,
)
from kiyome.decisions.journal import read_journal, write_lines
from kiyome.errors import InputError, MissingExtra

if TYPE_CHECKING:  # SQLAlchemy takes a third of a second, and events alone do without it
    from kiyome.decisions.log import Log

__all__ = ["Decision", "DecisionStore", "Event", "Kind", "Verdict", "open_decisions", "restore_log"]


@dataclass(frozen=True, kw_only=True, eq=False)
class DecisionStore:
    """The decisions of one review; made by `open_decisions`, safe in many threads.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "decisions.sqlite"
    >>> with open_decisions(path, fingerprint="f" * 64, class_names=("cat", "dog")) as store:
    ...     new = [Decision(image_id="a.png", verdict="relabel", label="cat")]
    ...     written = store.append(new, key="k1", reviewer="Ann", run="runs/x", table_content="", seen={})
    ...     again = store.append(new, key="k1", reviewer="Ann", run="runs/x", table_content="", seen={})
    ...     [(event.number, event.label) for event in store.events_after()], again == written
    ([(1, 'cat')], True)
    """

    review: str
    """The fingerprint of the table: decisions of an earlier version of the table are another review."""
    class_names: tuple[str, ...]
    _log: "Log" = field(repr=False)

    @property
    def url(self) -> str:
        """The URL of the store, without a password."""
        return self._log.engine.url.render_as_string()

    @property
    def journal(self) -> Path | None:
        """The path of the journal beside a SQLite file; None for PostgreSQL, which has its own log."""
        return self._log.journal

    def append(
        self,
        decisions: Sequence[Decision],
        *,
        key: str,
        reviewer: str,
        kind: Kind = "decide",
        undoes: str | None = None,
        run: str,
        table_content: str,
        seen: Mapping[str, Any],
        milliseconds: int | None = None,
    ) -> list[Event]:
        """Write decisions, all or none, and return their events; they are durable when this returns.

        Each decision is about another row, with the version of the row that the reviewer saw; a newer one is
        a DecisionConflict. `key` is the caller's name for the batch: the same key with the same content
        writes nothing again and returns what was written, so send a batch again whose answer was lost.
        `undoes` is the key of the batch that an undo or redo is about, `seen` what the page showed, as a JSON
        object.
        """
        from kiyome.decisions.log import append_batch

        batch = Batch(
            key=key,
            reviewer=reviewer,
            kind=kind,
            undoes=undoes,
            run=run,
            table_content=table_content,
            seen=seen,
            milliseconds=milliseconds,
            decisions=tuple(decisions),
        )
        reviewer = reviewer_name(batch.reviewer)
        signed = tuple(replace(decision, reviewer=reviewer) for decision in decisions)
        batch = replace(batch, reviewer=reviewer, decisions=signed)
        refuse_unknown_labels(batch.decisions, self.class_names)
        with self._log.writing() as connection:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            return append_batch(connection, self.review, batch, decided_at=now)

    def events_after(self, number: int = 0) -> list[Event]:
        """Return the events of this review after a number, in order of commit: none is ever missed."""
        from kiyome.decisions.log import events_after

        with self._log.reading() as connection:
            return events_after(connection, self.review, number)

    def events_of(self, key: str) -> list[Event]:
        """Return the events that were written with this key, in their order; none where it is unknown."""
        from kiyome.decisions.log import events_of_batch

        with self._log.reading() as connection:
            return events_of_batch(connection, self.review, key)

    def backup(self, path: str | Path) -> None:
        """Put a whole copy of a SQLite store at `path`, while others go on writing."""
        from kiyome.decisions.engine import copy_sqlite, store_errors

        path = Path(path)
        if self.journal is None:
            raise InputError(
                f"The store {self.url} is on PostgreSQL, which kiyome does not copy.",
                remedy="Run pg_dump, or write the events as lines: kiyome decisions backup RUN FILE.jsonl",
            )
        if path.exists():
            raise InputError(f"{path} exists already.", remedy="Choose another name for the backup.")
        engine = self._log.engine
        with store_errors(engine), writing(path, private=True) as file:
            copy_sqlite(engine, file.name)

    def write_journal(self, path: str | Path) -> None:
        """Write all events of the store to `path` as lines that `restore_log` reads, from either engine."""
        from kiyome.decisions.log import lines_after

        with self._log.reading() as connection, writing(path, private=True) as file:
            write_lines(file, lines_after(connection, 0))

    def close(self) -> None:
        """Close the database; what was appended is durable with or without this."""
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_decisions(store: str | Path, *, fingerprint: str, class_names: Sequence[str]) -> DecisionStore:
    """Open the decisions about one table; the store is created if absent, and migrated to this version.

    `store` is a path, `sqlite:///path` or `postgresql://user@host/database`; not on a network disk, whose
    locks do not work. Its last folder is created. `fingerprint` is that of the table: image ids, their order,
    class names.
    """
    for what, text in (("The fingerprint of a table", fingerprint), *(("A class", n) for n in class_names)):
        refuse_text(what, text)
    log = _import_log().open_log(store)
    return DecisionStore(review=fingerprint, class_names=tuple(class_names), _log=log)


def restore_log(journal: str | Path, store: str | Path) -> int:
    """Fill a new store with the events of a journal, and return how many; also from SQLite to PostgreSQL.

    A damaged line is a StaleArtifact that names it, and nothing is stored then.
    """
    lines = read_journal(Path(journal))
    _import_log().open_log(store, lines).close()
    return len(lines)


def rebuild_log(store: str | Path, keep: Callable[[Line], bool]) -> tuple[int, Path]:
    """Rebuild a SQLite store from the events to keep; return how many are gone, and the old store's path.

    Nobody may have the store open meanwhile.
    """
    from kiyome.decisions.log import lines_after

    log = _import_log().open_log(store)
    with closing(log), log.reading() as connection:
        lines = lines_after(connection, 0)
    kept = [line for line in lines if keep(line)]
    if log.journal is None or len(kept) == len(lines):
        raise InputError(
            f"There is nothing to repair in {log.engine.url.render_as_string()}: "
            f"{len(lines) - len(kept):,} events to remove, engine {log.engine.dialect.name}.",
            expected="Expected a store of SQLite with events about unknown photos or classes.",
            remedy="Leave it as it is: every reader skips such events.",
        )
    database = Path(log.engine.url.database)
    before = f"{database.stem}-before-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    for file in (log.journal, database):  # without a database the journal would be refused
        file.rename(file.with_stem(before))
    numbered = [(review, replace(event, number=n)) for n, (review, event) in enumerate(kept, start=1)]
    _import_log().open_log(database, numbered).close()
    return len(lines) - len(kept), database.with_stem(before)


def _import_log() -> ModuleType:
    try:
        from kiyome.decisions import log as decision_log
    except ImportError as error:
        raise MissingExtra("A store of decisions", extra="review") from error
    return decision_log
