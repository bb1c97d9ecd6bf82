"""The journal beside a SQLite store, what it is good for after a loss, and backups."""

import fcntl
import json
import os
import sqlite3
import threading

import pytest
import sqlalchemy

from kiyome.decisions.engine import PRAGMAS
from kiyome.decisions.journal import read_journal
from kiyome.decisions.store import Decision, open_decisions, restore_log
from kiyome.errors import InputError, StaleArtifact


def opened(place, fingerprint="f" * 64):
    return open_decisions(place, fingerprint=fingerprint, class_names=("cat", "dog"))


def decide(store, *image_ids, key, version=0):
    acts = [Decision(image_id=i, version=version, verdict="relabel", label="cat") for i in image_ids]
    return store.append(acts, key=key, reviewer="Ann", run="r", table_content="c", seen={"view": "one"})


@pytest.fixture
def place(tmp_path):
    return tmp_path / "review" / "decisions.sqlite"


@pytest.fixture
def filled(place):
    """A store of two reviews with a bulk act among them."""
    with opened(place) as store, opened(place, "e" * 64) as other:
        decide(store, "a", "b", "c\nd", key="k1")
        decide(other, "a", key="k1")
        decide(store, "b", key="k2", version=1)
    return place


def journal_of(place):
    return place.with_suffix(".jsonl")


def events_of(place, fingerprint="f" * 64):
    with opened(place, fingerprint) as store:
        return store.events_after()


def test_line_n_is_event_n(filled):
    lines = [json.loads(line) for line in journal_of(filled).read_text("ascii").splitlines()]
    assert [line["number"] for line in lines] == [1, 2, 3, 4, 5]
    assert [line["review"][0] for line in lines] == ["f", "f", "f", "e", "f"]
    assert lines[2] == vars(events_of(filled)[2]) | {"review": "f" * 64}


@pytest.mark.parametrize("lost", [1, 30, 400, 100_000])
def test_what_a_kill_cut_off_the_journal_is_written_again(filled, lost):
    whole = journal_of(filled).read_bytes()
    journal_of(filled).write_bytes(whole[:-lost])
    opened(filled).close()
    assert journal_of(filled).read_bytes() == whole


def test_a_journal_that_vanished_while_one_works_is_written_again(filled):
    whole = journal_of(filled).read_bytes()
    with opened(filled) as store:
        journal_of(filled).unlink()
        decide(store, "z", key="k3")
    assert journal_of(filled).read_bytes().startswith(whole)
    assert len(read_journal(journal_of(filled))) == 6


def test_a_torn_line_longer_than_a_block_is_cut(filled):
    whole = journal_of(filled).read_bytes()
    journal_of(filled).write_bytes(whole + b'{"review": "' + b"x" * 200_000)
    opened(filled).close()
    assert journal_of(filled).read_bytes() == whole


def changed(line, **changes):
    return json.dumps(json.loads(line) | changes).encode()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda lines: [*lines[:-1], changed(lines[-1], reviewer="Eve")],
            "Line 5 of the journal is not in the database",
        ),
        (
            lambda lines: [*lines, changed(lines[-1], number=6)],
            "Line 6 of the journal is not in the database",
        ),
        (lambda lines: lines[1:], "The journal has 4 lines for 5 events"),
        (lambda lines: [lines[0], *lines], "The journal has 6 lines for 5 events"),
        (lambda lines: [*lines[:-1], b"garbage"], "The line b'garbage' is not an event"),
        (lambda lines: [*lines[:-1], b"[1]"], "The line .* is not an event"),
        (lambda lines: [*lines[:-1], b'{"review": 3}'], "The line .* is not an event"),
    ],
)
def test_a_journal_of_another_store_is_noticed_at_open(filled, change, said):
    lines = change(journal_of(filled).read_bytes().splitlines())
    journal_of(filled).write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(StaleArtifact, match=said) as caught:
        opened(filled)
    assert "kiyome decisions restore RUN JOURNAL" in caught.value.remedy


def test_a_lost_database_comes_back_from_its_journal(filled):
    before, other = events_of(filled), events_of(filled, "e" * 64)
    journal = journal_of(filled).read_bytes()
    filled.unlink()
    with pytest.raises(InputError, match=r"but no database .* decisions restore RUN JOURNAL"):
        opened(filled)
    assert restore_log(journal_of(filled), filled) == 5
    assert (events_of(filled), events_of(filled, "e" * 64)) == (before, other)
    assert journal_of(filled).read_bytes() == journal
    with opened(filled) as store:
        assert decide(store, "a", "b", "c\nd", key="k1") == before[:3]
        assert decide(store, "b", key="k3", version=2)[0].number == 6


def test_a_damaged_database_is_named_and_comes_back(filled):
    before = events_of(filled)
    raw = bytearray(filled.read_bytes())
    raw[4096:12288] = b"\xff" * 8192
    filled.write_bytes(raw)
    with pytest.raises(StaleArtifact, match="The store of decisions is a damaged SQLite database"):
        opened(filled)
    filled.rename(filled.with_name("damaged"))
    restore_log(journal_of(filled), filled)
    assert events_of(filled) == before


def test_what_is_no_database_is_named(place):
    place.parent.mkdir()
    place.write_bytes(b"no database at all, " * 500)
    with pytest.raises(StaleArtifact, match="file is not a database"):
        opened(place)


@pytest.mark.parametrize(
    ("line", "changes", "said"),
    [
        (0, {"number": 7}, "Line 1 of the journal holds event 7"),
        (1, {"reviewer": "Eve"}, "Line 1 of the journal belongs to a batch whose events differ"),
        (1, {"decided_at": "2020"}, "Line 1 of the journal belongs to a batch whose events differ"),
        (3, {"verdict": "maybe"}, "Line 4 .* damaged: The verdict 'maybe' is unknown"),
        (3, {"image_id": 4}, "Line 4 .* damaged: The image id cannot be 4"),
        (3, {"sequence": None}, "Line 4 .* damaged"),
        (3, {"seen": None}, "Line 4 .* damaged: seen cannot be"),
        (3, {"review": None}, "The line .* is not an event"),
        (3, {"surprise": 1}, "The line .* is not an event"),
        (2, {"image_id": "a"}, "Line 1 .* damaged: The batch has two decisions about one row"),
    ],
)
def test_a_changed_line_is_not_restored(filled, tmp_path, line, changes, said):
    lines = journal_of(filled).read_bytes().splitlines()
    lines[line] = changed(lines[line], **changes)
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(StaleArtifact, match=said):
        restore_log(wrong, tmp_path / "restored.sqlite")
    assert not (tmp_path / "restored.sqlite").exists()


def test_restoring_needs_a_journal_and_an_empty_store(filled, tmp_path):
    with pytest.raises(InputError, match="There is no journal"):
        restore_log(tmp_path / "none.jsonl", tmp_path / "new.sqlite")
    with pytest.raises(InputError, match=r"already has 5 events\. Expected an empty store"):
        restore_log(journal_of(filled), filled)
    (tmp_path / "empty.jsonl").write_bytes(b"")
    assert restore_log(tmp_path / "empty.jsonl", tmp_path / "new.sqlite") == 0


def test_a_backup_is_whole_while_others_write(place, tmp_path):
    stop = threading.Event()
    with opened(place) as store:
        decide(store, "first", key="first")

        def work():
            for number in range(100_000):
                if stop.is_set():
                    return
                decide(store, f"{number} left", f"{number} right", key=str(number))

        thread = threading.Thread(target=work)
        thread.start()
        copies = [tmp_path / "copies" / f"{number}.sqlite" for number in range(5)]
        copies[0].parent.mkdir()
        for copy in copies:
            store.backup(copy)
        stop.set()
        thread.join()
        all_events = store.events_after()
    assert sorted(path.name for path in copies[0].parent.iterdir()) == [f"{n}.sqlite" for n in range(5)]
    for copy in copies:
        events = events_of(copy)
        assert len(events) % 2 == 1
        assert events == all_events[: len(events)]
    assert len(all_events) > 1


def test_a_backup_replaces_nothing_and_postgresql_has_its_own(filled, new_postgres_database):
    with opened(filled) as store, pytest.raises(InputError, match="exists already"):
        store.backup(filled)
    with opened(new_postgres_database()) as store:
        assert store.journal is None
        with pytest.raises(InputError, match="Run pg_dump, or write the events as lines"):
            store.backup(filled.with_name("copy.sqlite"))


def test_every_connection_waits_syncs_and_checks(filled):
    with opened(filled) as store:
        engine = store._log.engine
        with engine.connect() as one, engine.connect() as two:
            for connection in (one, two):
                values = [
                    connection.exec_driver_sql(f"PRAGMA {pragma.split(' ')[0]}").scalar()
                    for pragma in PRAGMAS
                ]
                assert values == [10_000, "wal", 2, 1, 1, 0]  # synchronous 2 is FULL
                strict = connection.exec_driver_sql("PRAGMA table_list('decision_events')").mappings().one()
                assert strict["strict"] == 1


def test_who_asks_for_news_does_not_walk_through_what_is_old(filled):
    asked = []
    with opened(filled) as store:
        engine = store._log.engine
        sqlalchemy.event.listen(engine, "before_cursor_execute", lambda *said: asked.append(said[2:4]))
        store.events_after(3)
        statement, values = next(said for said in asked if said[0].startswith("SELECT"))
        with engine.connect() as connection:
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
    assert plan == ["SEARCH decision_events USING INTEGER PRIMARY KEY (rowid>?)"]


def test_a_database_of_postgresql_waits_not_for_ever(new_postgres_database):
    with opened(new_postgres_database()) as store, store._log.engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW statement_timeout").scalar() == "30s"
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"


def test_every_commit_and_checkpoint_holds_the_lock_of_all_writers(place):
    """So the WAL-reset bug of SQLite before 3.51.3, a checkpoint beside another commit, cannot occur."""
    seen = []

    def note(what):
        with journal_of(place).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                seen.append((what, "free"))
            except BlockingIOError:
                seen.append((what, "held"))

    with opened(place) as store:
        engine = store._log.engine
        sqlalchemy.event.listen(engine, "commit", lambda _: note("commit"))
        sqlalchemy.event.listen(engine.pool, "close", lambda *_: note("close"))
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_autocheckpoint = 1")  # at every commit from now on
        for number in range(3):
            decide(store, f"photo {number}", key=f"k{number}")
        assert len(store.events_after(0)) == 3
    assert {what for what, _ in seen} == {"commit", "close"}
    assert {state for _, state in seen} == {"held"}
    assert not place.with_name(f"{place.name}-wal").exists()  # the last close tidied up, under the lock too


def test_an_old_sqlite_is_refused_and_others_need_no_warning(filled, monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))
    with pytest.raises(InputError, match=r"Decisions need SQLite 3\.37 or newer"):
        opened(filled).__enter__()


def test_a_store_is_not_named_like_its_journal(tmp_path):
    with pytest.raises(InputError, match=r"Name the store decisions\.sqlite"):
        opened(tmp_path / "decisions.jsonl")


def test_writers_wait_for_the_disk_together(place, monkeypatch):
    """Whoever waits for the disk has let the next one write; nobody is answered before the disk."""
    slow, fsync, waiting = threading.Event(), os.fsync, threading.Semaphore(0)

    def fsync_of_a_slow_disk(file):
        waiting.release()
        assert slow.wait(20)
        fsync(file)

    with opened(place) as store:
        monkeypatch.setattr(os, "fsync", fsync_of_a_slow_disk)
        writers = [threading.Thread(target=decide, args=(store, id_), kwargs={"key": id_}) for id_ in "ab"]
        for writer in writers:
            writer.start()
        both_wait = [waiting.acquire(timeout=10) for _ in writers]
        are_answered = [not writer.is_alive() for writer in writers]
        slow.set()
        for writer in writers:
            writer.join()
    assert (both_wait, are_answered) == ([True, True], [False, False])
    assert [event.number for event in events_of(place)] == [1, 2]
    assert [event for _, event in read_journal(journal_of(place))] == events_of(place)
