"""The outlook of a review: the same at every start and for several people, and what the page is told."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kiyome.decisions.items import ReviewItems
from kiyome.decisions.store import open_decisions
from kiyome.reviewing.app import make_app
from kiyome.reviewing.session import open_session

ROWS = 400


@pytest.fixture
def items() -> ReviewItems:
    """A run on 400 rows of which the most suspicious fifth is wrong in four of five cases."""
    names = [f"{row:03d}.png" for row in range(ROWS)]
    given = np.arange(ROWS, dtype=np.int32) % 2
    probability = np.linspace(1, 0, ROWS) ** 4
    return ReviewItems(
        run="r",
        title="r",
        blind=False,
        audit=None,
        image_ids=names,
        shown_ids=names,
        class_names=("cat", "dog"),
        fingerprint="f",
        table_content="",
        photo_root=Path(),
        photo_paths=[""] * ROWS,
        ranking=np.arange(ROWS),
        given_labels=given,
        suggested_labels=1 - given,
        likely_labels=1 - given,
        probability=probability,
        is_label_issue=probability > 0.5,
        pred_probs=np.full((ROWS, 2), 0.5, dtype=np.float32),
    )


def wrong(row: int) -> bool:
    return row < ROWS // 5 and row % 5 != 0


@pytest.fixture
def reopen(items: ReviewItems, tmp_path: Path, ask: Any) -> Any:
    """Opens the review, asks something of its app, and closes it: a restart between any two calls."""

    def run(do: Any, *, measure: float = 0.2) -> Any:
        store = open_decisions(
            tmp_path / "decisions.sqlite", fingerprint=items.fingerprint, class_names=items.class_names
        )
        with store, open_session(items, store, folder=tmp_path, name="Ann", measure=measure) as session:
            return do(make_app(replace(session, csrf=ask.csrf)))

    return run


def decide(app: Any, ask: Any, count: int, me: str) -> list[int]:
    """Answer the truth for the next rows of the queue that nobody decided."""
    rows = [each["row"] for each in ask.get(app, "/api/queue", f"state=open&count={count}&me={me}")["rows"]]
    entries = [
        {"row": row, "version": 0, "verdict": "relabel", "label": ("dog", "cat")[row % 2]}
        if wrong(row)
        else {"row": row, "version": 0, "verdict": "keep"}
        for row in rows
    ]
    sent = {"key": f"{me}{rows[0]}", "reviewer": me, "entries": entries}
    assert ask.post(app, "/api/decisions", sent).status == 200
    return rows


def test_the_outlook_survives_restarts_and_several_people(reopen: Any, ask: Any) -> None:
    order = reopen(lambda app: ask.get(app, "/api/queue", "count=400"))
    rows = []
    for me, count in [("Ann", 70), ("Bob", 50), ("Ann", 30)]:
        rows += reopen(lambda app, me=me, count=count: decide(app, ask, count, me))
    assert rows == [each["row"] for each in order["rows"][:150]]
    told = reopen(lambda app: ask.get(app, "/api/outlook"))
    found = sum(map(wrong, rows))
    assert (told["rows"], told["looked_at"], told["found"]) == (ROWS, 150, found)
    assert told["measured"] >= 8
    left = sum(map(wrong, range(ROWS))) - found
    assert told["left"][1] <= left <= told["left"][2]
    assert told["noise_rate"][1] <= sum(map(wrong, range(ROWS))) / ROWS <= told["noise_rate"][2]
    assert 0 <= told["next_found"] < 30
    assert told["next_looks"] == 100


def test_a_share_of_the_queue_is_random_and_none_without_it(reopen: Any, ask: Any) -> None:
    def first(app: Any) -> list[int]:
        return [each["row"] for each in ask.get(app, "/api/queue", "count=50&order=suspicion")["rows"]]

    assert reopen(first, measure=0.0) == list(range(50))
    measured = reopen(first)
    assert set(range(40)) <= set(measured)
    assert measured == reopen(first)
    assert max(measured) > 200


def test_disputes_and_unsure_rows_are_looked_at_but_not_found(reopen: Any, ask: Any) -> None:
    def work(app: Any) -> Any:
        entry = {"row": 1, "version": 0, "verdict": "keep"}
        for me, verdict in [("Ann", "drop"), ("Bob", "keep")]:
            sent = {"key": me, "reviewer": me, "entries": [entry | {"verdict": verdict}]}
            assert ask.post(app, "/api/decisions", sent).status == 200
        before = ask.get(app, "/api/outlook")
        dropped = {"key": "k", "reviewer": "Ann", "entries": [entry | {"row": 2, "verdict": "drop"}]}
        assert ask.post(app, "/api/decisions", dropped).status == 200
        return before, ask.get(app, "/api/outlook")

    before, after = reopen(work)
    assert (before["looked_at"], before["found"]) == (1, 0)
    assert (after["looked_at"], after["found"]) == (2, 1)


def test_before_any_decision_nothing_is_known_and_nobody_may_stop(reopen: Any, ask: Any) -> None:
    told = reopen(lambda app: ask.get(app, "/api/outlook"))
    assert (told["looked_at"], told["left"][1:], told["noise_rate"][1:]) == (0, [0, ROWS], [0, 1])
    assert told["looks_to_stop"] > 0


def test_once_every_row_is_decided_people_may_stop(reopen: Any, ask: Any) -> None:
    reopen(lambda app: decide(app, ask, ROWS, "Ann"))
    told = reopen(lambda app: ask.get(app, "/api/outlook"))
    assert (told["looks_to_stop"], told["looks_to_expect"], told["next_looks"]) == (0, 0, 0)
    assert told["left"] == [0, 0, 0]
