"""What is reviewed: the review itself, its queues, and one row with all that is known of it."""

from dataclasses import fields
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from pydantic import Field

from kiyome.decisions.current import Standing
from kiyome.decisions.events import Verdict
from kiyome.decisions.items import Subject
from kiyome.reviewing.queue import Asked, Order, State
from kiyome.reviewing.routes.dependencies import At, Me, Row, refused
from kiyome.reviewing.routes.schemas import Loose, Name
from kiyome.reviewing.session import Desk, FrozenQueue

MOST_ROWS, MOST_LIKELY, MOST_NEIGHBORS, MOST_REPEATS = 500, 5, 12, 20
TOLD = ("reviewer", "verdict", "label", "kind")
router = APIRouter(prefix="/api")


class QueueQuestion(Loose):
    """What the address of a view asks for."""

    order: Order | None = None
    given: str | None = Field(default=None, max_length=2048)
    likely: str | None = Field(default=None, max_length=2048)
    flagged: bool | None = None
    min_chance: float = Field(default=0.0, ge=0, le=1)
    max_chance: float = Field(default=1.0, ge=0, le=1)
    state: State = "all"
    verdict: Verdict | None = None
    reviewer: Name | None = None
    search: str = Field(default="", max_length=200)
    me: Name = ""
    queue: str | None = Field(default=None, max_length=64)
    """Of an earlier answer: page through that very list."""
    at: int | None = Field(default=None, ge=0, lt=2**31)
    """The row that the page should hold."""
    start: int = Field(default=0, ge=0, lt=2**31)
    count: int = Field(default=100, ge=1, le=MOST_ROWS)

    def asked(self, usual: Order) -> Asked:
        """The part that decides which rows, and in which order."""
        filters = self.model_dump(include={field.name for field in fields(Asked)} - {"order"})
        return Asked(order=self.order or usual, **filters)


@router.get("/review")
def show_review(desk: At) -> JSONResponse:
    """What is reviewed, and what the page may offer."""
    subject = desk.subject
    with desk.standing() as standing:
        reviewers = [] if subject.blind else standing.reviewers
    return JSONResponse(
        {
            "title": subject.title,
            "run": subject.run,
            "key": desk.secret.name(subject.fingerprint, blind=subject.blind),
            "rows": len(subject),
            "classes": list(subject.class_names),
            "blind": subject.blind,
            "audit": subject.audit,
            "has_neighbors": desk.neighbors is not None,
            "has_duplicates": subject.duplicate_groups is not None,
            "orders": list(desk.queue.orders),
            "reviewer_suggested": desk.name,
            "reviewers": reviewers,
            "warnings": [*desk.warnings, *filter(None, [desk.thumbnails.problem])],
            "csrf": desk.csrf,
            "photo_key": desk.photo_key,
        }
    )


@router.get("/queue")
def show_queue(desk: At, question: Annotated[QueueQuestion, Query()]) -> JSONResponse:
    """A page of the rows that were asked for, in an order that stays while one works through it."""
    usual = desk.queue.orders[0]
    queue = _kept(desk, question) if question.queue else desk.freeze(question.asked(usual), question.me)
    place = None if question.at is None else queue.page_at(question.at, question.count)
    start = question.start if place is None else place
    rows = queue.rows[start : start + question.count].tolist()
    with desk.standing() as standing:
        shown = rows_shown(desk, standing, rows, question.me)
    return JSONResponse({"total": len(queue.rows), "start": start, "queue": queue.name, "rows": shown})


@router.get("/rows/{row}")
def show_row(desk: At, row: Row, me: Me = "") -> JSONResponse:
    """One row, its neighbors and repeats, and what became of it."""
    subject = desk.subject
    with desk.standing() as standing:
        shown = rows_shown(desk, standing, [row], me)[0]
        history = [
            {**{name: getattr(event, name) for name in TOLD}, "at": event.decided_at}
            for event in standing.history(row)
            if event.reviewer == me or not subject.blind
        ]
    return JSONResponse(
        {
            **shown,
            "neighbors": _neighbors(desk, row),
            "duplicates": [{"row": other, "given": _given(subject, other)} for other in _repeats(desk, row)],
            "history": history,
        }
    )


def rows_shown(desk: Desk, standing: Standing, rows: list[int], me: str) -> list[dict[str, Any]]:
    """Rows as the page shows them; a blind review holds none of what it withholds."""
    subject = desk.subject
    names, suggested = subject.class_names, subject.suggested_labels
    likely = _likely(desk, rows)
    return [
        {
            "row": row,
            "id": subject.shown_ids[row],
            "given": _given(subject, row),
            "suggested": None if suggested is None else names[suggested[row]],
            "chance": None if subject.probability is None else _number(subject.probability[row]),
            "flagged": None if subject.is_label_issue is None else bool(subject.is_label_issue[row]),
            "likely": likely[place],
            "mine": _mine(standing, me, row),
            "others": None if subject.blind else _others(standing, me, row),
            "disputed": None if subject.blind else bool(standing.disputed[row]),
        }
        for place, row in enumerate(rows)
    ]


def _kept(desk: Desk, question: QueueQuestion) -> FrozenQueue:
    queue = desk.frozen(question.queue or "")
    if queue is None:
        raise refused(
            410,
            "A queue is kept for as long as someone pages through it.",
            came="the name of one that is not kept any more",
            remedy="Ask for the view again.",
        )
    return queue


def _likely(desk: Desk, rows: list[int]) -> list[list[tuple[str, float]] | None]:
    """The likeliest classes of each row, with their probabilities."""
    probs, names = desk.subject.pred_probs, desk.subject.class_names
    if probs is None:
        return [None] * len(rows)
    wanted = np.asarray(probs[rows])
    best = np.argsort(-wanted, axis=1, kind="stable")[:, :MOST_LIKELY]
    return [
        [(names[label], _number(wanted[place, label]) or 0.0) for label in labels]
        for place, labels in enumerate(best.tolist())
    ]


def _mine(standing: Standing, me: str, row: int) -> dict[str, Any] | None:
    held = standing.of(me, row)
    return {"verdict": held.verdict, "label": held.label, "version": held.version} if held.version else None


def _others(standing: Standing, me: str, row: int) -> list[dict[str, Any]]:
    if not standing.num_deciders[row]:
        return []
    held = {name: standing.of(name, row) for name in standing.reviewers if name != me}
    return [
        {"reviewer": name, "verdict": each.verdict, "label": each.label}
        for name, each in held.items()
        if each.verdict is not None
    ]


def _given(subject: Subject, row: int) -> str | None:
    return None if subject.given_labels is None else subject.class_names[subject.given_labels[row]]


def _neighbors(desk: Desk, row: int) -> list[dict[str, Any]]:
    if desk.neighbors is None:
        return []
    near = desk.neighbors.of(row, k=MOST_NEIGHBORS)
    return [
        {"row": other, "given": _given(desk.subject, other), "similarity": _number(similarity)}
        for other, similarity in zip(near.rows.tolist(), near.similarities.tolist(), strict=True)
    ]


def _repeats(desk: Desk, row: int) -> list[int]:
    groups = desk.subject.duplicate_groups
    if groups is None or groups[row] < 0:
        return []
    return [other for other in np.flatnonzero(groups == groups[row])[:MOST_REPEATS].tolist() if other != row]


def _number(value: float) -> float | None:
    """A number that JSON knows, no longer than it is worth."""
    return round(float(value), 5) if np.isfinite(value) else None
