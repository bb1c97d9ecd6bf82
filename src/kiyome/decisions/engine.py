"""The engine under a store of decisions: SQLite or PostgreSQL, set to lose nothing, at the newest revision.

SQLite: WAL, synchronous=FULL, one writer at a time, as https://www.sqlite.org/wal.html advises; not for
network disks, whose locks do not hold. Commits, which bring checkpoints with them, and the close of a store
hold the lock of all writers (`Log`), so no checkpoint meets another's commit: the WAL-reset bug of SQLite
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
"""A number that only kiyome's writers take as an advisory lock of PostgreSQL."""
PATIENCE = 10.0
"""Seconds to wait for a SQLite writer that does not know our lock."""
OLDEST_SQLITE = (3, 37, 0)
"""The first with STRICT tables."""
PRAGMAS = (
    f"busy_timeout = {int(PATIENCE * 1000)}",  # first: even journal_mode asks for a lock
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
    "recursive_triggers = ON",
    "trusted_schema = OFF",
)


def url_of(store: str | Path) -> URL:
    """The address of a store, told by a path or as a URL; PostgreSQL is reached through psycopg 3.

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
    raise InputError(
        "A store of decisions is a file of SQLite or a database of PostgreSQL.",
        came=f"a URL that begins with {store.partition(':')[0]!a}" if engine != "sqlite" else ascii(store),
        remedy="Write sqlite:///path/to/decisions.sqlite or postgresql://user@host/database.",
    )


def journal_of(url: URL) -> Path | None:
    """The journal beside a SQLite file; none for PostgreSQL."""
    if url.drivername != "sqlite" or url.database is None:
        return None
    path = Path(url.database)
    if path.suffix == ".jsonl":
        raise InputError(
            "The journal beside a store ends in .jsonl, so the store does not.",
            came=str(path),
            remedy=f"Name the store {path.with_suffix('.sqlite').name}.",
        )
    return path.with_suffix(".jsonl")


def new_engine(url: URL) -> Engine:
    """An engine whose every connection is set up before its first use; nothing is connected yet."""
    if url.drivername == "sqlite":
        engine = create_engine(url, connect_args={"timeout": PATIENCE, "check_same_thread": False})
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
    """SQLite itself would make a file that all may read; what it puts beside it has the same mode."""
    if not Path(arguments[0]).exists():
        with suppress(OSError):  # SQLite says it better
            os.close(private_opener(arguments[0], os.O_RDWR | os.O_CREAT | os.O_CLOEXEC))


def _set_up_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where we say so
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    """A writer asks for its lock first: SQLite lets no reader wait for it in the middle of a transaction."""
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
    """A transaction during which nobody else writes the store; it is kept when the block ends well."""
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(WRITERS_LOCK)))
        yield connection


@contextmanager
def bring_up_to_date(engine: Engine) -> Iterator[Connection]:
    """A transaction in which the tables are those of this version of kiyome, made or changed where need be.

    Raises
    ------
    InputError
        When a newer version made the store, or a PostgreSQL database is not in UTF-8.
    StaleArtifact
        When a SQLite file is damaged or no database at all.
    """
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
                "A store of decisions is opened by the version of kiyome that made it, or a newer one.",
                came=f"a store at revision {min(found - known)}, this version knows up to {max(known)}",
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
                "A PostgreSQL database for decisions keeps text in UTF-8.",
                came=f"one in {encoding}",
                remedy="Make one: createdb --encoding=UTF8 --template=template0 NAME",
            )
        return
    found = connection.exec_driver_sql("PRAGMA integrity_check").scalar()
    if found != "ok":
        raise _damaged(f"damage: {found}")


def _damaged(came: str) -> StaleArtifact:
    return StaleArtifact(
        "A store of decisions is a whole SQLite database.",
        came=came,
        remedy="Move it away and rebuild it from its journal: kiyome decisions RUN --restore JOURNAL",
    )


def refuse_foreign(path: Path) -> None:
    """Refuse a SQLite file that another program made, and links, before anything of it can change.

    Raises
    ------
    InputError
        When it holds tables and none of ours, or a link lies where SQLite would write.
    """
    for beside in ("", "-wal", "-shm", "-journal"):
        name = path.with_name(path.name + beside)
        if name.is_symlink():
            raise InputError(
                f"{name} is a link.",
                came=f"one to {name.readlink()}",
                remedy="Name the file that it leads to: --store sqlite:///FILE, or move the link away.",
            )
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise
        return  # without rights nothing of it can change: whoever opens it to write is told why
    if tables and VERSION_TABLE not in tables:
        raise InputError(
            f"{path} is a database of another program.",
            came=f"one with {sorted(tables)[0]!a} and no decisions",
            remedy="Keep decisions in a file of their own: --store sqlite:///OTHER.sqlite",
        )


@contextmanager
def reaching(engine: Engine) -> Iterator[None]:
    """Turn what a database or a disk says into an error in three parts, without the password of the URL.

    Raises
    ------
    StaleArtifact
        When a SQLite file is damaged or no database at all.
    StoreUnavailable
        When the store cannot be read or written now.
    """
    try:
        yield
    except (DBAPIError, PoolTimeout, engine.dialect.loaded_dbapi.Error) as error:
        said = " ".join(str(getattr(error, "orig", error)).split())
        if "malformed" in said or "not a database" in said:
            raise _damaged(said) from error
        raise _unavailable(engine.url, said) from error
    except OSError as error:
        raise _unavailable(engine.url, error.strerror or str(error)) from error


def _unavailable(url: URL, said: str) -> StoreUnavailable:
    return StoreUnavailable(
        "The store of decisions can be read and written.",
        came=f"{said} ({url.render_as_string(hide_password=True)})",
        remedy="Look to its disk or server, then repeat the act: with the same key nothing is written twice.",
    )


def check_version(url: URL) -> None:
    """Refuse a SQLite that has no STRICT tables yet.

    Raises
    ------
    InputError
        With the version that is here.
    """
    if url.drivername == "sqlite" and sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise InputError(
            "Decisions need SQLite 3.37 or newer.",
            came=f"SQLite {sqlite3.sqlite_version}",
            remedy="Use a newer Python build, or a store on PostgreSQL.",
        )


def copy_sqlite(engine: Engine, path: str) -> None:
    """Put a checked copy of a SQLite store in the file at `path`; writers go on meanwhile.

    Raises
    ------
    StaleArtifact
        When the copy is damaged.
    """
    with closing(sqlite3.connect(path)) as copy:
        copy.execute("PRAGMA journal_mode = OFF")  # a kill would leave its file beside the user's
        source = engine.raw_connection()
        try:
            source.driver_connection.backup(copy)  # type: ignore[union-attr]
        finally:
            source.close()
        found = copy.execute("PRAGMA integrity_check").fetchone()[0]
    if found != "ok":
        raise _damaged(f"a copy with damage: {found}")
