"""What was answered is there: after kills, with many processes at once, on a full or read-only disk."""

import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest

from kiyome.decisions.engine import url_of
from kiyome.decisions.journal import read_journal
from kiyome.decisions.store import Decision, open_decisions, restore_log
from kiyome.errors import StoreUnavailable

WRITER = Path(__file__).with_name("decision_writer.py")


def opened(url):
    return open_decisions(url, fingerprint="f" * 64, class_names=("cat",))


def start(url, reviewer, turns=0, **how):
    arguments = [sys.executable, str(WRITER), url, reviewer, str(turns)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, **how)


def answered(writer):
    return [line.strip() for line in writer.stdout if line.endswith("\n") and line != "open\n"]


def assert_all_is_there(url, keys):
    """Both events of every answered act, none twice, versions and numbers without a gap, journal and all."""
    with opened(url) as store:
        events = store.events_after()
        journal = store.journal
    written = Counter(event.batch for event in events)
    assert set(written.values()) <= {2}
    assert set(keys) <= set(written)
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    histories: dict = {}
    for event in events:
        histories.setdefault((event.reviewer, event.image_id), []).append(event.sequence)
    assert all(history == list(range(1, len(history) + 1)) for history in histories.values())
    if journal:
        assert [event for _, event in read_journal(journal)] == events
    return events


def kill_in_the_middle(url, times):
    rng, keys = random.Random(7), []
    for _ in range(times):
        writer = start(url, "Ann")
        assert writer.stdout.readline() == "open\n"
        keys += [writer.stdout.readline().strip() for _ in range(rng.randrange(1, 12))]
        time.sleep(rng.uniform(0.0, 0.01))  # somewhere in the next act
        writer.send_signal(signal.SIGKILL)
        keys += answered(writer)
        writer.wait()
        writer.stdout.close()
    assert len(keys) >= times
    return assert_all_is_there(url, keys)


def test_a_writer_that_is_killed_loses_nothing_that_it_was_answered(store_url):
    kill_in_the_middle(store_url, 4)


@pytest.mark.slow
def test_a_writer_that_is_killed_a_hundred_times(store_url):
    kill_in_the_middle(store_url, 100)


@pytest.mark.parametrize("processes", [3, pytest.param(8, marks=pytest.mark.slow)])
def test_processes_that_decide_at_once_wait_for_each_other(store_url, processes):
    turns = 12 if processes < 8 else 100
    writers = [start(store_url, f"reviewer {number}", turns) for number in range(processes)]
    keys = [key for writer in writers for key in answered(writer)]
    for writer in writers:
        assert writer.wait() == 0
        writer.stdout.close()
    assert len(set(keys)) == len(keys) == processes * turns
    assert len(assert_all_is_there(store_url, keys)) == 2 * len(keys)


def decide(store, number):
    act = Decision(image_id=f"{number}.png", version=0, verdict="keep", label=None)
    return store.append(
        [act], key=str(number), reviewer="Bob", run="r", table_content="c", seen={"pad": "x" * 2000}
    )


@contextmanager
def files_no_larger_than(size):
    """No file of this process can grow beyond: a write that would meets what a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def decide_until_refused(store):
    saved = []
    try:
        for number in range(500):
            saved += decide(store, number)
    except StoreUnavailable as error:
        return saved, error
    return saved, None


def test_a_full_disk_is_said_and_everything_answered_stays(tmp_path):
    place = tmp_path / "decisions.sqlite"
    with opened(place) as store:
        with files_no_larger_than(300_000):
            saved, error = decide_until_refused(store)
        assert 5 < len(saved) < 500
        assert error.remedy.startswith("Check its disk or server, then send the same batch again")
        assert str(place) in error.problem
        assert store.events_after() == saved
        repeated = decide(store, len(saved))
        assert store.events_after() == saved + repeated
        assert [event for _, event in read_journal(store.journal)] == saved + repeated


def test_a_disk_that_is_full_for_the_journal_only_is_said_too(tmp_path):
    """The act is in the database by then: repeated with its key, it is answered once the journal has it."""
    place = tmp_path / "decisions.sqlite"
    with opened(place) as store:
        saved = [event for number in range(60) for event in decide(store, number)]
    with opened(place) as store:
        size = store.journal.stat().st_size
        with files_no_larger_than(size + 100), pytest.raises(StoreUnavailable, match="File too large"):
            decide(store, 60)
        assert store.journal.stat().st_size == size + 100
        in_database = store.events_after()
        assert decide(store, 60) == in_database[60:]
        assert store.events_after() == in_database
        assert in_database[:60] == saved
        assert [event for _, event in read_journal(store.journal)] == in_database


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    place = tmp_path / "none" / "none" / "decisions.sqlite"
    with pytest.raises(StoreUnavailable, match="No such file or directory"):
        opened(place)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match=r"exists|Not a directory"):
        opened(tmp_path / "file" / "decisions.sqlite")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user here")
def test_a_read_only_folder_is_said():
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders let nobody else in
        folder = Path(name)
        folder.chmod(0o755)
        opened(folder / "old.sqlite").close()
        code = (
            "import os, sys, alembic.command, kiyome.decisions.log\n"
            "from kiyome.decisions.store import open_decisions\n"
            "os.setuid(65534)\n"
            "open_decisions(sys.argv[1], fingerprint='f' * 64, class_names=())"
        )
        for store in ("old.sqlite", "new.sqlite"):
            command = [sys.executable, "-c", code, f"sqlite:///{folder / store}"]
            shown = subprocess.run(command, capture_output=True, text=True)
            assert "StoreUnavailable: The store of decisions sqlite:///" in shown.stderr
            assert "Permission denied" in shown.stderr


def test_a_store_goes_from_one_engine_to_the_other_by_its_journal(store_url, new_postgres_database, tmp_path):
    writer = start(store_url, "Ann", 6)
    keys = answered(writer)
    writer.wait()
    writer.stdout.close()
    events = assert_all_is_there(store_url, keys)
    with opened(store_url) as store:
        store.write_journal(tmp_path / "journal.jsonl")
    for target in (f"sqlite:///{tmp_path}/new.sqlite", new_postgres_database()):
        assert restore_log(tmp_path / "journal.jsonl", target) == len(events)
        assert assert_all_is_there(target, keys) == events
        assert url_of(target).database
