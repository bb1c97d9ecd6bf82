"""Who decided what about a row, when, having seen what: an append-only log in SQLite or PostgreSQL.

Nothing is ever changed or removed. What stands is a fold over the events, made where it is needed; an undo
is one more event. A decision that `append` returned survives a kill and a power cut.

    RUN/review/
      decisions.sqlite   the log (decision_tables.py), one table, at its newest revision (migrations/)
      decisions.jsonl    the same events as lines (decision_journal.py), to rebuild the log from
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
    Act,
    Batch,
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

__all__ = ["Act", "DecisionStore", "Event", "Kind", "Verdict", "open_decisions", "restore_decisions"]


@dataclass(frozen=True, kw_only=True, eq=False)
class DecisionStore:
    """The decisions of one review, to add to and to read; made by `open_decisions`, safe in many threads.

    Examples
    --------
    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp()) / "decisions.sqlite"
    >>> with open_decisions(place, fingerprint="f" * 64, class_names=("cat", "dog")) as store:
    ...     act = Act(image_id="a.png", version=0, verdict="relabel", label="cat")
    ...     written = store.append([act], key="k1", reviewer="Ann", run="runs/x", table_content="", seen={})
    ...     again = store.append([act], key="k1", reviewer="Ann", run="runs/x", table_content="", seen={})
    ...     [(event.number, event.label) for event in store.events_after()], again == written
    ([(1, 'cat')], True)
    """

    review: str
    """The fingerprint of the table: decisions of an earlier version of the table are another review."""
    class_names: tuple[str, ...]
    _log: "Log" = field(repr=False)

    @property
    def url(self) -> str:
        """Where the store is, without a password."""
        return self._log.engine.url.render_as_string()

    @property
    def journal(self) -> Path | None:
        """The fsynced lines beside a SQLite file; none beside PostgreSQL, which keeps a log of its own."""
        return self._log.journal

    def append(
        self,
        acts: Sequence[Act],
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
        """The events that were written for these acts: all of them or none, and safe when this returns.

        Parameters
        ----------
        acts : sequence of Act
            Each about another row, with the version of the row that the reviewer saw.
        key : str
            The caller's name for this act. The same key with the same content writes nothing again and
            returns what was written: repeat an act whose answer was lost.
        reviewer : str
            1 to 64 characters that can be seen; kept in NFC.
        kind : str
            decide, undo, redo or import.
        undoes : str or None
            With undo and redo: the key of the reviewer's batch that it is about.
        run, table_content : str
            Which run was reviewed, and the digest of its table.
        seen : mapping
            What the reviewer had before the eyes, as JSON knows it.
        milliseconds : int or None
            How long the reviewer looked.

        Raises
        ------
        InputError
            When the acts cannot be kept, name an unknown class, or carry the key of another act.
        DecisionConflict
            When this reviewer wrote about one of the rows since it was shown; nothing is written.
        StoreUnavailable
            When the disk is full or the server away. Repeat with the same key.
        """
        from kiyome.decisions.tables import append_batch

        batch = Batch(
            key=key,
            reviewer=reviewer,
            kind=kind,
            undoes=undoes,
            run=run,
            table_content=table_content,
            seen=seen,
            milliseconds=milliseconds,
            acts=tuple(acts),
        )
        batch = replace(batch, reviewer=reviewer_name(batch.reviewer))
        refuse_unknown_labels(batch.acts, self.class_names)
        with self._log.writing() as connection:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            return append_batch(connection, self.review, batch, decided_at=now)

    def events_after(self, number: int = 0) -> list[Event]:
        """The events of this review that follow a number, in order of commit: a later one is never missed."""
        from kiyome.decisions.tables import events_after

        with self._log.reading() as connection:
            return events_after(connection, self.review, number)

    def events_of(self, key: str) -> list[Event]:
        """The events that were written with this key, in the order of their acts; none when it is unknown."""
        from kiyome.decisions.tables import events_of_batch

        with self._log.reading() as connection:
            return events_of_batch(connection, self.review, key)

    def backup(self, path: str | Path) -> None:
        """Put a whole copy of a SQLite store at `path`, while others go on writing.

        Raises
        ------
        InputError
            When something lies at `path`, or the store is on PostgreSQL, which has its own backups.
        """
        from kiyome.decisions.engine import copy_sqlite, reaching

        path = Path(path)
        if self.journal is None:
            raise InputError(
                "A backup by kiyome is a copy of a SQLite file.",
                came=f"a store on PostgreSQL ({self.url})",
                remedy="Run pg_dump, or write the events as lines: kiyome decisions RUN --backup FILE.jsonl.",
            )
        if path.exists():
            raise InputError(
                "A backup has a place of its own.",
                came=f"{path}, which exists",
                remedy="Choose another name.",
            )
        engine = self._log.engine
        with reaching(engine), writing(path, private=True) as file:
            copy_sqlite(engine, file.name)

    def write_journal(self, path: str | Path) -> None:
        """Put all events of the store at `path` as lines that `restore_decisions` reads, on either engine."""
        from kiyome.decisions.tables import lines_after

        with self._log.reading() as connection, writing(path, private=True) as file:
            write_lines(file, lines_after(connection, 0))

    def close(self) -> None:
        """Let go of the database; what was appended is safe with or without this."""
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_decisions(store: str | Path, *, fingerprint: str, class_names: Sequence[str]) -> DecisionStore:
    """The decisions about one table, made if need be and brought to this version of kiyome.

    Parameters
    ----------
    store : str or Path
        A path, `sqlite:///path` or `postgresql://user@host/database`. Not on a network disk, whose locks do
        not hold. The last folder of the path is made.
    fingerprint : str
        Of the table that is reviewed: image ids, their order, class names.
    class_names : sequence of str
        What a label may be.

    Raises
    ------
    InputError
        When the URL is of neither kind, or a newer version of kiyome made the store.
    StaleArtifact
        When the file is damaged, or the journal beside it tells of other events.
    StoreUnavailable
        When the disk is full or read-only, or the server away.
    MissingExtra
        Without the extra `review`, or `postgres` for PostgreSQL.
    """
    for what, text in (("The fingerprint of a table", fingerprint), *(("A class", n) for n in class_names)):
        refuse_text(what, text)
    log = _import_log().open_log(store)
    return DecisionStore(review=fingerprint, class_names=tuple(class_names), _log=log)


def restore_decisions(journal: str | Path, store: str | Path) -> int:
    """The number of events that a new store got from a journal: the whole log, number by number.

    It also takes a store from SQLite to PostgreSQL, or back.

    Raises
    ------
    InputError
        When there is no such journal, or the store has events already.
    StaleArtifact
        Naming the first line of the journal that is not as it was written; nothing is stored then.
    StoreUnavailable
        When the disk is full or read-only, or the server away.
    """
    lines = read_journal(Path(journal))
    _import_log().open_log(store, lines).close()
    return len(lines)


def rebuild_decisions(store: str | Path, keep: Callable[[Line], bool]) -> tuple[int, Path]:
    """Make a SQLite store anew of the events to keep; return how many are gone, and where the old store lies.

    Nobody may have the store open meanwhile.

    Raises
    ------
    InputError
        When nothing is to be removed, or the store is on PostgreSQL.
    """
    from kiyome.decisions.tables import lines_after

    log = _import_log().open_log(store)
    with closing(log), log.reading() as connection:
        lines = lines_after(connection, 0)
    kept = [line for line in lines if keep(line)]
    if log.journal is None or len(kept) == len(lines):
        raise InputError(
            f"There is nothing to repair in {log.engine.url.render_as_string()}.",
            came=f"a store of {log.engine.dialect.name} with {len(lines) - len(kept):,} events to remove",
            remedy="Events about unknown photos or classes are skipped in any store when it is read.",
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
