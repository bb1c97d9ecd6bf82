"""The rows under review: facts about the review, its queues, and one row with its details."""

from dataclasses import fields
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from kiyome.decisions.current import CurrentDecisions
from kiyome.decisions.events import Verdict
from kiyome.decisions.items import ReviewItems
from kiyome.reviewing.queue import Order, QueueFilter, State
from kiyome.reviewing.routes.dependencies import At, Me, Name, Row, http_error
from kiyome.reviewing.session import QueueSnapshot, ReviewSession

MAX_ROWS, MAX_LIKELY, MAX_NEIGHBORS, MAX_DUPLICATES = 500, 5, 12, 20
HISTORY_FIELDS = ("reviewer", "verdict", "label", "kind")
router = APIRouter(prefix="/api")


class QueueQuery(BaseModel):
    """The query of a queue; all values are text, and an unknown field is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    order: Order | None = None
    split: Literal["train", "val", "test"] | None = None
    given: str | None = Field(default=None, max_length=2048)
    likely: str | None = Field(default=None, max_length=2048)
    flagged: bool | None = None
    none: bool | None = None
    min_chance: float = Field(default=0.0, ge=0, le=1)
    max_chance: float = Field(default=1.0, ge=0, le=1)
    state: State = "all"
    verdict: Verdict | None = None
    reviewer: Name | None = None
    search: str = Field(default="", max_length=200)
    me: Name = ""
    queue: str | None = Field(default=None, max_length=64)
    """The name of a queue in an earlier answer, to page through it."""
    at: int | None = Field(default=None, ge=0, lt=2**31)
    """A row that the page should contain."""
    start: int = Field(default=0, ge=0, lt=2**31)
    count: int = Field(default=100, ge=1, le=MAX_ROWS)

    def filter(self, default: Order) -> QueueFilter:
        """Return the part that decides which rows, and in which order."""
        filters = self.model_dump(include={field.name for field in fields(QueueFilter)} - {"order"})
        return QueueFilter(order=self.order or default, **filters)


@router.get("/review")
def show_review(session: At) -> JSONResponse:
    """Return facts about the review, and the features that the page may offer."""
    items = session.items
    with session.current() as current:
        reviewers = [] if items.blind else current.reviewers
    return JSONResponse(
        {
            "title": items.title,
            "run": items.run,
            "key": session.secret.name(items.fingerprint, blind=items.blind),
            "rows": len(items),
            "classes": list(items.class_names),
            "splits": list(items.splits_in_use),
            "blind": items.blind,
            "audit": items.audit,
            "has_neighbors": session.neighbors is not None,
            "has_duplicates": items.duplicate_groups is not None or items.copies is not None,
            "orders": list(session.queue.orders),
            "reviewer_suggested": session.name,
            "reviewers": reviewers,
            "warnings": [*session.warnings, *filter(None, [session.thumbnails.problem])],
            "csrf": session.csrf,
            "photo_key": session.photo_key,
        }
    )


@router.get("/queue")
def show_queue(session: At, query: Annotated[QueueQuery, Query()]) -> JSONResponse:
    """Return a page of a queue, in an order that does not change while people work through it."""
    default = session.queue.orders[0]
    queue = (
        _snapshot(session, query) if query.queue else session.take_snapshot(query.filter(default), query.me)
    )
    found = None if query.at is None else queue.page_at(query.at, query.count)
    start = query.start if found is None else found
    rows = queue.rows[start : start + query.count].tolist()
    with session.current() as current:
        shown = rows_shown(session, current, rows, query.me)
    return JSONResponse({"total": len(queue.rows), "start": start, "queue": queue.name, "rows": shown})


@router.get("/rows/{row}")
def show_row(session: At, row: Row, me: Me = "") -> JSONResponse:
    """Return one row with its neighbors, its duplicates, and the history of decisions about it."""
    items = session.items
    with session.current() as current:
        shown = rows_shown(session, current, [row], me)[0]
        history = [
            {**{name: getattr(event, name) for name in HISTORY_FIELDS}, "at": event.decided_at}
            for event in current.history(row)
            if event.reviewer == me or not items.blind
        ]
    return JSONResponse(
        {
            **shown,
            "neighbors": _neighbors(session, row),
            "duplicates": [
                {"row": other, "given": _given(items, other)} for other in _duplicates(session, row)
            ],
            "history": history,
        }
    )


def rows_shown(
    session: ReviewSession, current: CurrentDecisions, rows: list[int], me: str
) -> list[dict[str, Any]]:
    """Return rows as the page shows them; in a blind review, hidden values are None."""
    items = session.items
    names, suggested = items.class_names, items.suggested_labels
    likely = _likely(session, rows)
    return [
        {
            "row": row,
            "id": items.shown_ids[row],
            "split": None if items.splits is None else items.splits[row],
            "given": _given(items, row),
            "suggested": None if suggested is None else names[suggested[row]],
            "probability": None if items.probability is None else _number(items.probability[row]),
            "probability_none": None
            if items.probability_none is None
            else _number(items.probability_none[row]),
            "flagged": None if items.is_label_issue is None else bool(items.is_label_issue[row]),
            "drawn": bool(session.queue.drawn[row]),
            "likely": likely[index],
            "mine": _mine(current, me, row),
            "others": None if items.blind else _others(current, me, row),
            "disputed": None if items.blind else bool(current.disputed[row]),
        }
        for index, row in enumerate(rows)
    ]


def _snapshot(session: ReviewSession, query: QueueQuery) -> QueueSnapshot:
    queue = session.snapshot(query.queue or "")
    if queue is None:
        raise http_error(
            410,
            "This queue is no longer kept.",
            expected="A queue is kept while people page through it.",
            remedy="Open the view again.",
        )
    return queue


def _likely(session: ReviewSession, rows: list[int]) -> list[list[tuple[str, float]] | None]:
    """Return the most probable classes of each row, with their probabilities."""
    probs, names = session.items.pred_probs, session.items.class_names
    if probs is None:
        return [None] * len(rows)
    wanted = np.asarray(probs[rows])
    best = np.argsort(-wanted, axis=1, kind="stable")[:, :MAX_LIKELY]
    return [
        [(names[label], _number(wanted[index, label]) or 0.0) for label in labels]
        for index, labels in enumerate(best.tolist())
    ]


def _mine(current: CurrentDecisions, me: str, row: int) -> dict[str, Any] | None:
    mine = current.of(me, row)
    return {"verdict": mine.verdict, "label": mine.label, "version": mine.version} if mine.version else None


def _others(current: CurrentDecisions, me: str, row: int) -> list[dict[str, Any]]:
    if not current.num_decisions[row]:
        return []
    others = (current.of(name, row) for name in current.reviewers if name != me)
    return [
        {"reviewer": each.reviewer, "verdict": each.verdict, "label": each.label}
        for each in others
        if each.verdict is not None
    ]


def _given(items: ReviewItems, row: int) -> str | None:
    return None if items.given_labels is None else items.class_names[items.given_labels[row]]


def _neighbors(session: ReviewSession, row: int) -> list[dict[str, Any]]:
    if session.neighbors is None:
        return []
    near = session.neighbors.of(row, k=MAX_NEIGHBORS)
    return [
        {"row": other, "given": _given(session.items, other), "similarity": _number(similarity)}
        for other, similarity in zip(near.rows.tolist(), near.similarities.tolist(), strict=True)
    ]


def _duplicates(session: ReviewSession, row: int) -> list[int]:
    """Return rows that show the same picture, copies in other splits first."""
    groups, copies = session.items.duplicate_groups, session.items.copies
    found = [] if copies is None else copies[(copies == row).any(axis=1)].ravel().tolist()
    if groups is not None and groups[row] >= 0:
        found += np.flatnonzero(groups == groups[row]).tolist()
    return [other for other in dict.fromkeys(found) if other != row][:MAX_DUPLICATES]


def _number(value: float) -> float | None:
    """Return a number that JSON can hold, with five digits; None for infinity and NaN."""
    return round(float(value), 5) if np.isfinite(value) else None
