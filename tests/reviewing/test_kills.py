"""C1: what was answered is there after SIGKILL, once, and histories replay, by count."""

import runpy
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        return runpy.run_path(str(BENCHMARKS / "review_load.py"))


@pytest.mark.parametrize(
    ("seconds", "kills", "acts"), [(0, 3, 40), pytest.param(60, 12, 300, marks=pytest.mark.slow)]
)
def test_no_answered_decision_is_lost_or_doubled_when_the_server_is_killed(
    tmp_path: Path, benchmark: Any, seconds: float, kills: int, acts: int
) -> None:
    run = benchmark["write_run"](tmp_path)
    outcome = benchmark["load"](run, seconds=seconds, kills=kills, acts_between=acts)
    assert (outcome.lost, outcome.doubled, outcome.broken, outcome.differ) == ([], [], [], [])
    assert outcome.kills == kills
    assert outcome.times("acts resent")
    assert outcome.times("photos")
    assert not {status for status in outcome.statuses if status not in (200, 403, 404, 409, 503)}
    assert "Traceback" not in (tmp_path / "server.log").read_text()


def test_the_count_finds_what_it_looks_for(tmp_path: Path, benchmark: Any) -> None:
    """A test that cannot fail would promise nothing: take events away, and add some."""
    run = benchmark["write_run"](tmp_path)
    outcome = benchmark["load"](run, seconds=0, kills=1, acts_between=40)
    clients, events = outcome.clients, outcome.events
    assert not outcome.lost
    answered = {key for client in clients for key in client.answered}
    gone = next(place for place, event in enumerate(events) if event.batch in answered)
    missing = [*events[:gone], *events[gone + 1 :]]
    assert list(benchmark["lost_in"](clients, missing)) == [events[gone].batch]
    assert list(benchmark["doubled_in"](clients, [*events, events[0]]))
    assert list(benchmark["broken_in"](clients, events[1:]))
    assert next(benchmark["differing_in"](run, missing)) == gone + 1
