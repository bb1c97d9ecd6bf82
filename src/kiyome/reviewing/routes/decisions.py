"""The changes that people make: decisions, undo, redo.

Each is one batch with a key of its own, which is written once however often it arrives.
"""

from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from kiyome.decisions.events import Decision, Event, Verdict, look_alikes
from kiyome.reviewing.routes.dependencies import (
    At,
    Name,
    as_reviewer,
    browser_of,
    http_error,
    not_found,
    refuse_foreign_name,
)
from kiyome.reviewing.session import ReviewSession

router = APIRouter(prefix="/api")

MAX_ENTRIES = 5_000
LONGEST_DAY = 86_400_000
"""Milliseconds: nobody looks at one photo for longer."""


class Body(BaseModel):
    """A strict body: `1.0` is not a row, `true` is not a version, and an unknown field is a mistake."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Entry(Body):
    """A decision about one row, as the page sends it."""

    row: int = Field(ge=0, lt=2**31)
    version: int = Field(ge=0, lt=2**31)
    """Of the row when it was shown; 0 where this reviewer had decided nothing."""
    verdict: Verdict
    label: str | None = Field(default=None, max_length=2048)


class Seen(Body):
    """What the page showed to the reviewer."""

    order: str = Field(default="", max_length=32)
    view: str = Field(default="", max_length=32)
    blind: bool = False
    """According to the page; the server writes its own value."""
    position: int | None = Field(default=None, ge=0, lt=2**31)


class DecisionsBody(Body):
    """One batch: all of it is written, or none."""

    key: str = Field(min_length=1, max_length=200)
    """New for each batch, and the same whenever it is sent again."""
    reviewer: Name = Field(min_length=1)
    entries: list[Entry] = Field(min_length=1, max_length=MAX_ENTRIES)
    milliseconds: int | None = Field(default=None, ge=0, le=LONGEST_DAY)
    seen: Seen = Seen()


class StepBody(Body):
    """An undo or a redo of this reviewer's last batch."""

    key: str = Field(min_length=1, max_length=200)
    reviewer: Name = Field(min_length=1)


@router.post("/decisions")
def decide(session: At, request: Request, body: DecisionsBody) -> JSONResponse:
    """Write what one person decided about some rows: all of it, or none of it."""
    browser = browser_of(session, request)
    with as_reviewer(session, request, body.reviewer):
        events = session.store.append(
            [_decision(session, entry) for entry in body.entries],
            key=body.key,
            reviewer=body.reviewer,
            run=session.items.run,
            table_content=session.items.table_content,
            seen={
                **body.seen.model_dump(),
                "blind": session.items.blind,
                **({"browser": browser} if browser else {}),
            },
            milliseconds=body.milliseconds,
        )
    return _answer(session, events, note=_look_alike(session, body))


@router.post("/undo")
def undo(session: At, request: Request, body: StepBody) -> JSONResponse:
    """Take back this person's last batch."""
    refuse_foreign_name(session, request, body.reviewer)
    return _step(session, body, "undo")


@router.post("/redo")
def redo(session: At, request: Request, body: StepBody) -> JSONResponse:
    """Restore what this person took back last."""
    refuse_foreign_name(session, request, body.reviewer)
    return _step(session, body, "redo")


def _step(session: ReviewSession, body: StepBody, kind: Literal["undo", "redo"]) -> JSONResponse:
    if before := session.store.events_of(body.key):
        return _answer_again(session, before, body, kind)
    with session.current() as current:
        step = current.to_undo(body.reviewer) if kind == "undo" else current.to_redo(body.reviewer)
    if step is None:
        raise not_found(f"This reviewer has nothing to {kind}.")
    batch, decisions = step
    events = session.store.append(
        decisions,
        key=body.key,
        reviewer=body.reviewer,
        kind=kind,
        undoes=batch,
        run=session.items.run,
        table_content=session.items.table_content,
        seen={"blind": session.items.blind},
    )
    return _answer(session, events)


def _answer_again(session: ReviewSession, before: list[Event], body: StepBody, kind: str) -> JSONResponse:
    """Return the same answer to the same step that is sent again."""
    if (before[0].reviewer, before[0].kind) != (body.reviewer, kind):
        raise http_error(422, "The key was used before for another batch.", remedy="Choose a new key.")
    return _answer(session, before)


def _decision(session: ReviewSession, entry: Entry) -> Decision:
    if entry.row >= len(session.items):
        raise http_error(
            422,
            f"There is no row {entry.row}.",
            expected=f"Rows are 0 to {len(session.items) - 1}.",
            remedy="Reload the page.",
        )
    return Decision(
        image_id=session.items.image_ids[entry.row],
        version=entry.version,
        verdict=entry.verdict,
        label=entry.label,
    )


def _look_alike(session: ReviewSession, body: DecisionsBody) -> str | None:
    """Return a note for a person whose new name looks like another one; a blind review names nobody."""
    with session.current() as current:
        first, names = current.first_event(body.reviewer), current.reviewers
    others = look_alikes(body.reviewer, names) if first and first.batch == body.key else []
    if not others:
        return None
    whose = "another reviewer's" if session.items.blind else f"'{others[0]}'"
    return f"This name looks like {whose}. If that is you, use only one of them; if not, choose another name."


def _answer(session: ReviewSession, events: list[Event], *, note: str | None = None) -> JSONResponse:
    answer: dict[str, Any] = {"decisions": session.as_json(events), "batch": events[0].batch}
    return JSONResponse(answer | ({"note": note} if note else {}))
