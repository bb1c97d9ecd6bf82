"""The database engine under a store of decisions: SQLite or PostgreSQL, durable, at the newest revision.

SQLite: WAL, synchronous=FULL, one writer at a time, as https://www.sqlite.org/wal.html advises; not for
network disks, whose locks do not work. Commits, with their checkpoints, and the close of a store happen
under the write lock (`Log`), so no checkpoint meets another's commit: the WAL-reset bug of SQLite
before 3.51.3 cannot occur among programs that write through this room. PostgreSQL: an advisory lock makes
numbers follow the order of commit.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from kiyome.artifacts.storage import private_opener
from kiyome.errors import InputError, MissingExtra, StaleArtifact, StoreUnavailable

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_TABLE = "decision_migrations"
WRITERS_LOCK = 5_649_017_243_001
"""The advisory lock of PostgreSQL that only kiyome's writers take."""
LOCK_SECONDS = 10.0
"""Longest wait for a SQLite writer that does not use our lock."""
OLDEST_SQLITE = (3, 37, 0)
"""The first with STRICT tables."""
PRAGMAS = (
    f"busy_timeout = {int(LOCK_SECONDS * 1000)}",  # first: even journal_mode asks for a lock
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
    "recursive_triggers = ON",
    "trusted_schema = OFF",
)


def url_of(store: str | Path) -> URL:
    """Return the URL of a store, given as a path or URL; PostgreSQL is reached through psycopg 3.

    >>> url_of("postgresql://ann@db/team").drivername, url_of(Path("review/decisions.sqlite")).database
    ('postgresql+psycopg', 'review/decisions.sqlite')
    """
    if isinstance(store, Path):
        return URL.create("sqlite", database=str(store))
    try:
        url = make_url(store)
    except (ArgumentError, ValueError):
        url = URL.create("unknown")
    engine = url.drivername.partition("+")[0]
    if engine in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    if engine == "sqlite" and url.database and url.database != ":memory:" and not url.query:
        return url.set(drivername="sqlite")
    shown = ascii(store) if engine == "sqlite" else f"{store.partition(':')[0]!a}:..."  # no password
    raise InputError(
        f"The store {shown} is neither a file of SQLite nor a database of PostgreSQL.",
        remedy="Write sqlite:///path/to/decisions.sqlite or postgresql://user@host/database.",
    )


def journal_of(url: URL) -> Path | None:
    """Return the path of the journal beside a SQLite file; None for PostgreSQL."""
    if url.drivername != "sqlite" or url.database is None:
        return None
    path = Path(url.database)
    if path.suffix == ".jsonl":
        raise InputError(
            f"The store {path} would have the name of its own journal.",
            expected="The journal ends in .jsonl, the store in anything else.",
            remedy=f"Name the store {path.with_suffix('.sqlite').name}.",
        )
    return path.with_suffix(".jsonl")


def new_engine(url: URL) -> Engine:
    """Return an engine whose connections are set up before their first use; nothing is connected yet."""
    if url.drivername == "sqlite":
        engine = create_engine(url, connect_args={"timeout": LOCK_SECONDS, "check_same_thread": False})
        event.listen(engine, "do_connect", _make_private)
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        engine = create_engine(
            url,
            isolation_level="READ COMMITTED",
            pool_pre_ping=True,
            connect_args={"client_encoding": "utf8"},
        )
    except ImportError as error:
        raise MissingExtra("A store on PostgreSQL", extra="postgres") from error
    event.listen(engine, "connect", _set_up_postgresql)
    return engine


def _make_private(_dialect: object, _record: object, arguments: Any, _options: object) -> None:
    """Create the file for its owner alone; SQLite gives what it creates beside it the same mode."""
    if not Path(arguments[0]).exists():
        with suppress(OSError):  # SQLite's own message is better
            os.close(private_opener(arguments[0], os.O_RDWR | os.O_CREAT | os.O_CLOEXEC))


def _set_up_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin with our BEGIN only
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    """Begin writers with the lock: SQLite never upgrades a reader that would have to wait."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _set_up_postgresql(connection: Any, _record: object) -> None:
    connection.autocommit = True  # else these settings would go with the first rollback
    connection.execute("SET statement_timeout = '30s'")
    connection.execute("SET idle_in_transaction_session_timeout = '60s'")  # a lost writer's lock goes, too
    if connection.execute("SHOW synchronous_commit").fetchone()[0] == "off":
        connection.execute("SET synchronous_commit = on")
    connection.autocommit = False


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """A transaction without other writers; committed when the block ends without error."""
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(WRITERS_LOCK)))
        yield connection


@contextmanager
def bring_up_to_date(engine: Engine) -> Iterator[Connection]:
    """A transaction in which the table is that of this version of kiyome, created or migrated."""
    from alembic.command import upgrade
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    known = {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}
    with transaction(engine) as connection:
        _refuse_unsound(connection)
        options = {"version_table": VERSION_TABLE}
        found = set(MigrationContext.configure(connection, opts=options).get_current_heads())
        if found - known:
            raise InputError(
                f"The store of decisions is at revision {min(found - known)}, made by a newer kiyome.",
                expected=f"This version reads revisions up to {max(known)}.",
                remedy="Update kiyome: pip install -U kiyome",
            )
        config.attributes.update(connection=connection, **options)
        upgrade(config, "head")
        yield connection


def _refuse_unsound(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar()
        if encoding != "UTF8":
            raise InputError(
                f"The PostgreSQL database has the encoding {encoding}.",
                expected="Expected UTF8.",
                remedy="Create another one: createdb --encoding=UTF8 --template=template0 NAME",
            )
        return
    found = connection.exec_driver_sql("PRAGMA integrity_check").scalar()
    if found != "ok":
        raise _damaged(f"{found}")


def _damaged(reason: str) -> StaleArtifact:
    return StaleArtifact(
        f"The store of decisions is a damaged SQLite database: {reason}.",
        remedy="Move it away and rebuild it from its journal: kiyome decisions restore RUN JOURNAL",
    )


def refuse_foreign(path: Path) -> None:
    """Raise an error, before anything changes, for a database of another program or a link in its place."""
    for beside in ("", "-wal", "-shm", "-journal"):
        name = path.with_name(path.name + beside)
        if name.is_symlink():
            raise InputError(
                f"{name} is a link to {name.readlink()}.",
                expected="Expected a regular file, as SQLite writes beside it.",
                remedy="Name the file that it points to: --store sqlite:///FILE, or move the link away.",
            )
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise
        return  # without rights nothing can change; opening it to write raises the reason
    if tables and VERSION_TABLE not in tables:
        raise InputError(
            f"{path} is a database of another program, with the table {sorted(tables)[0]!a}.",
            remedy="Keep decisions in a file of their own: --store sqlite:///OTHER.sqlite",
        )


@contextmanager
def store_errors(engine: Engine) -> Iterator[None]:
    """Translate errors of a database or a disk into ours, without the password of the URL."""
    try:
        yield
    except (DBAPIError, PoolTimeout, engine.dialect.loaded_dbapi.Error) as error:
        reason = " ".join(str(getattr(error, "orig", error)).split())
        if "malformed" in reason or "not a database" in reason:
            raise _damaged(reason) from error
        raise _unavailable(engine.url, reason) from error
    except OSError as error:
        raise _unavailable(engine.url, error.strerror or str(error)) from error


def _unavailable(url: URL, reason: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"The store of decisions {url.render_as_string(hide_password=True)} is not available: {reason}.",
        remedy="Check its disk or server, then send the same batch again: its key keeps it from being "
        "written twice.",
    )


def check_version(url: URL) -> None:
    """Raise an InputError for a SQLite that has no STRICT tables yet."""
    if url.drivername == "sqlite" and sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise InputError(
            f"This Python has SQLite {sqlite3.sqlite_version}.",
            expected="Decisions need SQLite 3.37 or newer.",
            remedy="Use a newer Python build, or a store on PostgreSQL.",
        )


def copy_sqlite(engine: Engine, path: str) -> None:
    """Put a checked copy of a SQLite store in the file at `path`, while others go on writing."""
    with closing(sqlite3.connect(path)) as copy:
        copy.execute("PRAGMA journal_mode = OFF")  # a kill would leave its file beside the user's
        source = engine.raw_connection()
        try:
            source.driver_connection.backup(copy)  # type: ignore[union-attr]
        finally:
            source.close()
        found = copy.execute("PRAGMA integrity_check").fetchone()[0]
    if found != "ok":
        raise _damaged(f"a copy of it says {found}")
