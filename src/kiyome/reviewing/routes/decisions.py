"""What people change: decisions, undo, redo.

Each is one act with a key of its own, which is written once however often it comes.
"""

from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from kiyome.decisions.events import look_alikes
from kiyome.decisions.store import Act, Event
from kiyome.reviewing.routes.dependencies import At, browser_of, in_own_name, refuse_taken, refused, unknown
from kiyome.reviewing.routes.schemas import Decisions, Entry, Step
from kiyome.reviewing.session import Desk

router = APIRouter(prefix="/api")


@router.post("/decisions")
def decide(desk: At, request: Request, body: Decisions) -> JSONResponse:
    """Write what one person decided about some rows: all of it, or none of it."""
    browser = browser_of(desk, request)
    with in_own_name(desk, request, body.reviewer):
        events = desk.store.append(
            [_act(desk, entry) for entry in body.entries],
            key=body.key,
            reviewer=body.reviewer,
            run=desk.subject.run,
            table_content=desk.subject.table_content,
            seen={
                **body.seen.model_dump(),
                "blind": desk.subject.blind,
                **({"browser": browser} if browser else {}),
            },
            milliseconds=body.milliseconds,
        )
    return _written(desk, events, note=_look_alike(desk, body))


@router.post("/undo")
def undo(desk: At, request: Request, body: Step) -> JSONResponse:
    """Take back this person's last act that stands."""
    refuse_taken(desk, request, body.reviewer)
    return _step(desk, body, "undo")


@router.post("/redo")
def redo(desk: At, request: Request, body: Step) -> JSONResponse:
    """Bring back what this person took back last."""
    refuse_taken(desk, request, body.reviewer)
    return _step(desk, body, "redo")


def _step(desk: Desk, body: Step, kind: Literal["undo", "redo"]) -> JSONResponse:
    if before := desk.store.events_of(body.key):
        return _again(desk, before, body, kind)
    with desk.standing() as standing:
        step = standing.to_undo(body.reviewer) if kind == "undo" else standing.to_redo(body.reviewer)
    if step is None:
        raise unknown(f"There is something to {kind}.", came="nothing of this reviewer")
    batch, acts = step
    events = desk.store.append(
        acts,
        key=body.key,
        reviewer=body.reviewer,
        kind=kind,
        undoes=batch,
        run=desk.subject.run,
        table_content=desk.subject.table_content,
        seen={"blind": desk.subject.blind},
    )
    return _written(desk, events)


def _again(desk: Desk, before: list[Event], body: Step, kind: str) -> JSONResponse:
    """The same answer to the same step that is sent again."""
    if (before[0].reviewer, before[0].kind) != (body.reviewer, kind):
        raise refused(422, "A key names one act.", came="the key of another one", remedy="Take a new key.")
    return _written(desk, before)


def _act(desk: Desk, entry: Entry) -> Act:
    if entry.row >= len(desk.subject):
        raise refused(
            422,
            f"Rows are 0 to {len(desk.subject) - 1}.",
            came=f"a decision about row {entry.row}",
            remedy="Reload the page.",
        )
    return Act(
        image_id=desk.subject.image_ids[entry.row],
        version=entry.version,
        verdict=entry.verdict,
        label=entry.label,
    )


def _look_alike(desk: Desk, body: Decisions) -> str | None:
    """What to tell whoever begins under a name that reads like another one; a blind review names nobody."""
    with desk.standing() as standing:
        first, names = standing.first_event(body.reviewer), standing.reviewers
    others = look_alikes(body.reviewer, names) if first and first.batch == body.key else []
    if not others:
        return None
    whose = "another reviewer's" if desk.subject.blind else f"'{others[0]}'"
    return f"This name looks like {whose}: if that is you, take one of the two; if not, tell them apart."


def _written(desk: Desk, events: list[Event], *, note: str | None = None) -> JSONResponse:
    answer: dict[str, Any] = {"decided": desk.written(events), "batch": events[0].batch}
    return JSONResponse(answer | ({"note": note} if note else {}))
