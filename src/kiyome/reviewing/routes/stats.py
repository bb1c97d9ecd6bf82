"""Statistics of the review: progress, outlook, the matrix of classes, agreement; and decisions as files."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from numpy.typing import NDArray

from kiyome.decisions.agreement import agreement, consensus_codes
from kiyome.decisions.current import LABEL, NONE, CurrentDecisions
from kiyome.decisions.exchange.answers import reviewed_rows
from kiyome.decisions.exchange.formats import format_named
from kiyome.reviewing.queue import QueueFilter, State, mask_of
from kiyome.reviewing.routes.dependencies import At, Me, Unblinded
from kiyome.reviewing.session import ReviewSession

BREAK_SECONDS = 300.0
"""A longer time without a decision is a break."""
RECENT_BATCHES = 200
"""The pace is that of this many last batches, since people become faster."""


@dataclass(frozen=True, kw_only=True)
class ReviewerProgress:
    """Number of decisions of one person, and the pace."""

    reviewer: str
    decided: int
    """Rows with a current decision of this person."""
    per_hour: float | None
    """Rows in an hour of work; None before there are two batches to measure between."""


@dataclass(frozen=True, kw_only=True)
class ReviewProgress:
    """Progress of a review. Counts of flagged rows are None where it is blind."""

    rows: int
    flagged: int | None
    decided: int
    """Rows with a decision by anyone; in a blind review, mine."""
    mine: int
    flagged_decided: int | None
    disputed: int | None
    """Rows on which two people differ; None where the review is blind."""
    per_hour: float | None
    """My pace."""
    seconds_left: float | None
    """Until every flagged row is decided at my pace alone; every row, where the review is blind."""
    by_reviewer: tuple[ReviewerProgress, ...]
    """Everyone; only me, where the review is blind."""


def rows_per_hour(times: Sequence[tuple[float, int]]) -> float | None:
    """Return the rows decided in an hour of work, without breaks; None where there are too few batches.

    `times` are the second and the number of rows of each batch, in order. A batch took the time since the one
    before; after a break its time is unknown, and it is left out.

    >>> rows_per_hour([(0.0, 1), (10.0, 1), (20.0, 1), (5000.0, 1), (5010.0, 1)])
    360.0
    """
    if len(times) < 2:
        return None
    seconds, rows = np.array(times[-RECENT_BATCHES - 1 :], dtype=np.float64).T
    spent = np.diff(seconds)
    at_work = (spent >= 0) & (spent <= BREAK_SECONDS)
    total = float(spent[at_work].sum())
    return float(rows[1:][at_work].sum()) / total * 3600 if total > 0 else None


def review_progress(current: CurrentDecisions, *, me: str | None = None) -> ReviewProgress:
    """Return the progress of a review, as one person may see it."""
    items = current.items
    flagged = items.is_label_issue
    mine = current.codes(me or "") != NONE
    decided = mine if items.blind else current.decided
    per_hour = rows_per_hour(current.batch_times(me or ""))
    left = _count(~decided if flagged is None else flagged & ~decided)
    names = [name for name in current.reviewers if not items.blind or name == me]
    return ReviewProgress(
        rows=len(items),
        flagged=None if flagged is None else _count(flagged),
        decided=_count(decided),
        mine=_count(mine),
        flagged_decided=None if flagged is None else _count(flagged & decided),
        disputed=None if items.blind else _count(current.disputed),
        per_hour=per_hour,
        seconds_left=left * 3600 / per_hour if per_hour else None,
        by_reviewer=tuple(
            ReviewerProgress(
                reviewer=name,
                decided=_count(current.codes(name) != NONE),
                per_hour=rows_per_hour(current.batch_times(name)),
            )
            for name in names
        ),
    )


def _count(mask: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))


MAX_CLASSES, MAX_PAIRS = 60, 200
"""A matrix of more classes would be megabytes that nobody reads."""

router = APIRouter(prefix="/api")


@router.get("/progress")
def show_progress(session: At, me: Me = "") -> JSONResponse:
    """Return what is decided, how fast, and how long the rest will take."""
    with session.current() as current:
        return JSONResponse(asdict(review_progress(current, me=me)))


@router.get("/outlook")
def show_outlook(session: Unblinded) -> JSONResponse:
    """Return what was found, what is left, what the next looks should find, and when people may stop."""
    assert session.outlooks is not None  # noqa: S101 - only a blind review has none
    with session.current() as current:
        number, codes = current.last_number, consensus_codes(current)
    return JSONResponse(asdict(session.outlooks.after(number, codes)))


@router.get("/matrix")
def show_matrix(
    session: Unblinded,
    reading: Literal["likely", "reviewed"] = "likely",
    flagged: bool | None = None,  # noqa: FBT001 - a field of the address
    state: State = "all",
    me: Me = "",
) -> JSONResponse:
    """Return counts of rows by given label and by the class of the model, or of people."""
    items = session.items
    with session.current() as current:
        mask = mask_of(items, QueueFilter(flagged=flagged, state=state), current, me)
        other = consensus_codes(current) - LABEL if reading == "reviewed" else items.likely_labels
    assert items.given_labels is not None  # noqa: S101 - only a blind review has none
    assert other is not None  # noqa: S101
    counted = other >= 0 if mask is None else mask & (other >= 0)
    return JSONResponse(_matrix(session, items.given_labels[counted], other[counted]))


@router.get("/agreement")
def show_agreement(session: Unblinded) -> JSONResponse:
    """Return the agreement of each two reviewers on the rows that both decided."""
    with session.current() as current:
        pairs, disputes = agreement(current), int(current.disputed.sum())
    shown = [
        {
            "a": pair.a,
            "b": pair.b,
            "rows": pair.kappa.num_rows,
            "agreed": pair.kappa.num_agreed,
            "kappa": pair.kappa.value,
            "low": pair.kappa.low,
            "high": pair.kappa.high,
        }
        for pair in pairs
    ]
    return JSONResponse({"pairs": shown, "disputes": disputes})


@router.get("/export")
def export(session: Unblinded, format: Annotated[str, Query(max_length=32)] = "csv") -> Response:  # noqa: A002
    """Send the current decisions as a file."""
    chosen = format_named(format)
    with session.current() as current:
        reviewed = reviewed_rows(current)
    headers = {"content-disposition": f'attachment; filename="{chosen.file_name}"'}
    return Response(chosen.write(reviewed).content, media_type=chosen.media_type, headers=headers)


def _matrix(session: ReviewSession, given: NDArray[np.integer], other: NDArray[np.integer]) -> dict[str, Any]:
    """Return counts [given, other]; of many classes only the largest cells off the diagonal."""
    names = session.items.class_names
    size = len(names)
    cells = given.astype(np.int64) * size + other
    if size <= MAX_CLASSES:
        return {
            "classes": list(names),
            "counts": np.bincount(cells, minlength=size**2).reshape(size, size).tolist(),
        }
    found, number = np.unique(cells, return_counts=True)
    largest = np.argsort(-number, kind="stable")
    largest = largest[found[largest] // size != found[largest] % size][:MAX_PAIRS]
    pairs = [
        (names[cell // size], names[cell % size], count)
        for cell, count in zip(found[largest].tolist(), number[largest].tolist(), strict=True)
    ]
    return {"classes": list(names), "pairs": pairs}
