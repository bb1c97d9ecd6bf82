"""How far and how fast."""

import numpy as np
import pytest

from kiyome.decisions.current import CurrentDecisions
from kiyome.reviewing.routes.stats import BREAK_SECONDS, RECENT_BATCHES, review_progress, rows_per_hour


def test_breaks_do_not_count() -> None:
    at_work = [(10.0 * place, 1) for place in range(7)]
    after_lunch = [(second + 60 + 2 * BREAK_SECONDS, rows) for second, rows in at_work]
    assert rows_per_hour(at_work) == rows_per_hour(at_work + after_lunch) == 360


def test_only_recent_batches_count_and_bulk_counts_by_row() -> None:
    slow = [(100.0 * place, 1) for place in range(50)]
    fast = [(5000.0 + 10 * place, 2) for place in range(RECENT_BATCHES + 1)]
    assert rows_per_hour(slow + fast) == 720


@pytest.mark.parametrize(
    "times", [[], [(0.0, 1)], [(0.0, 1), (0.0, 1)], [(0.0, 1), (9000.0, 1)], [(5.0, 1), (1.0, 1)]]
)
def test_nothing_is_said_where_nothing_was_measured(times) -> None:
    assert rows_per_hour(times) is None


def test_progress(items_of, log_of) -> None:
    items = items_of(10, is_label_issue=np.arange(10) < 6)
    current, log = CurrentDecisions(items), log_of(items)
    for row in range(3):
        current.apply(log.append("Ann", {row: "keep"}, at=10 * row))
    current.apply(log.append("Bob", {0: "drop", 9: "drop"}))
    found = review_progress(current, me="Ann")
    assert (found.rows, found.flagged, found.decided, found.mine) == (10, 6, 4, 3)
    assert (found.flagged_decided, found.disputed, found.per_hour, found.seconds_left) == (3, 1, 360, 30)
    assert [(pace.reviewer, pace.decided) for pace in found.by_reviewer] == [("Ann", 3), ("Bob", 2)]
    assert review_progress(current).seconds_left is None


def test_a_blind_review_counts_only_mine(items_of, log_of) -> None:
    items = items_of(4, blind=True)
    current, log = CurrentDecisions(items), log_of(items)
    current.apply(log.append("Bob", {0: "class 1", 1: "class 1"}))
    current.apply(log.append("Ann", {2: "class 1"}))
    found = review_progress(current, me="Ann")
    assert (found.decided, found.flagged, found.flagged_decided, found.disputed) == (1, None, None, None)
    assert [pace.reviewer for pace in found.by_reviewer] == ["Ann"]
