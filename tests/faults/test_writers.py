"""A writer of decisions is killed at each call, or its server stops: what was answered is there, once."""

import itertools
import random
import threading
from collections import Counter
from pathlib import Path

import pytest

from kiyome.decisions.journal import read_journal
from kiyome.decisions.store import Decision, open_decisions
from kiyome.errors import StoreUnavailable

WRITER = Path(__file__).parents[1] / "decisions" / "decision_writer.py"


def opened(url):
    return open_decisions(url, fingerprint="f" * 64, class_names=("cat",))


def assert_all_is_there(url, answered, *, events_of_act):
    """Each answered act, none twice, versions and numbers without a gap, the journal line by line."""
    with opened(url) as store:
        events = store.events_after()
        if store.journal:
            assert [event for _, event in read_journal(store.journal)] == events
    written = Counter(event.batch for event in events)
    assert set(written.values()) <= {events_of_act}
    assert set(answered) <= set(written)
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    histories: dict = {}
    for event in events:
        histories.setdefault((event.reviewer, event.image_id), []).append(event.sequence)
    assert all(history == list(range(1, len(history) + 1)) for history in histories.values())


def kill_at_each_call(forks, folder, url, fault, *, step):
    """A writer that makes its store dies at call n, for n = 1, 2, ...; a second one goes on."""
    forks.run(WRITER, f"sqlite:///{folder}/warm.sqlite", "Ann", "1", folder=folder, fault="warm")
    for number in itertools.count(1, step):
        place = folder / str(number)
        place.mkdir()
        own = url() if url else f"sqlite:///{place}/decisions.sqlite"
        killed = forks.run(WRITER, own, "Ann", "2", folder=place, fault=fault, number=number)
        assert killed.code in (0, -9), killed.err
        again = forks.run(WRITER, own, "Ann", "2", folder=place)
        assert again.code == 0, again.err
        answered = [line for line in (killed.out + again.out).splitlines() if line.startswith("Ann")]
        assert len(answered) == len(set(answered))
        assert_all_is_there(own, answered, events_of_act=2)
        if killed.code == 0:
            assert killed.calls < number
            assert number > 10
            return


@pytest.mark.parametrize("step", [23, pytest.param(1, marks=pytest.mark.slow)])
def test_a_writer_killed_at_any_write_loses_nothing_that_was_answered(forks, tmp_path, step):
    kill_at_each_call(forks, tmp_path, None, "kill", step=step)


@pytest.mark.parametrize("step", [61, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("fault", ["kill_before_send", "kill_after_send"])
def test_a_writer_killed_at_any_statement_to_postgresql(forks, tmp_path, postgres_server, fault, step):
    kill_at_each_call(forks, tmp_path, postgres_server.new_database, fault, step=step)


@pytest.mark.parametrize("times", [1, pytest.param(25, marks=pytest.mark.slow)])
def test_a_server_stopped_at_once_keeps_each_answered_act_once(postgres_server, times):
    rng, answered = random.Random(11), []
    url = postgres_server.new_database()
    with opened(url) as store:
        for _ in range(times):
            stop = threading.Timer(rng.uniform(0.02, 0.1), postgres_server.stop_at_once)
            stop.start()
            with pytest.raises(StoreUnavailable):
                decide_without_end(store, answered)
            stop.join()
            postgres_server.start()
            decide(store, len(answered))  # the act without an answer, with the same key
            answered.append(str(len(answered)))
    assert len(answered) > times
    assert_all_is_there(url, answered, events_of_act=1)


def decide_without_end(store, answered):
    while True:
        decide(store, len(answered))
        answered.append(str(len(answered)))


def decide(store, number):
    act = Decision(image_id=f"{number}.png", version=0, verdict="keep", label=None)
    store.append([act], key=str(number), reviewer="Bob", run="r", table_content="c", seen={})
