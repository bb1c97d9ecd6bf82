"""How far the review is: progress, the matrix of classes, agreement; and decisions as files."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from numpy.typing import NDArray

from kiyome.decisions.agreement import agreement, consensus
from kiyome.decisions.current import LABEL, NOTHING, Standing
from kiyome.decisions.exchange.formats import format_named
from kiyome.decisions.exchange.transfer import reviewed_of
from kiyome.reviewing.queue import Asked, State, mask_of
from kiyome.reviewing.routes.dependencies import At, Me, Seeing
from kiyome.reviewing.session import Desk

BREAK_SECONDS = 300.0
"""Whoever decides nothing for so long is doing something else."""
RECENT_BATCHES = 200
"""The pace is that of the last so many, since people become faster."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How much one person decided, and how fast."""

    reviewer: str
    decided: int
    """Rows of which this person's decision stands."""
    per_hour: float | None
    """Rows in an hour of work; None before there are two batches to measure between."""


@dataclass(frozen=True, kw_only=True)
class ReviewProgress:
    """How far a review is. Counts of flagged rows are None where it is blind."""

    rows: int
    flagged: int | None
    decided: int
    """Rows of which anyone's decision stands; in a blind review, mine."""
    mine: int
    flagged_decided: int | None
    disputed: int | None
    """Rows of which two people hold different things; None where the review is blind."""
    per_hour: float | None
    """My pace."""
    seconds_left: float | None
    """Until every flagged row is decided at my pace alone; every row, where the review is blind."""
    by_reviewer: tuple[Pace, ...]
    """Everyone; only me, where the review is blind."""


def rows_per_hour(times: Sequence[tuple[float, int]]) -> float | None:
    """Rows decided in an hour of work, breaks not counted; None where nothing can be said.

    Parameters
    ----------
    times
        Second and number of rows of each batch, in order. A batch took the time since the one before, unless
        that was a break: then nobody knows, and the batch is left out.

    Examples
    --------
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


def review_progress(standing: Standing, *, me: str | None = None) -> ReviewProgress:
    """How far the review is, for the person who asks."""
    subject = standing.subject
    flagged = subject.is_label_issue
    mine = standing.codes(me or "") != NOTHING
    decided = mine if subject.blind else standing.decided
    per_hour = rows_per_hour(standing.batch_times(me or ""))
    left = _count(~decided if flagged is None else flagged & ~decided)
    names = [name for name in standing.reviewers if not subject.blind or name == me]
    return ReviewProgress(
        rows=len(subject),
        flagged=None if flagged is None else _count(flagged),
        decided=_count(decided),
        mine=_count(mine),
        flagged_decided=None if flagged is None else _count(flagged & decided),
        disputed=None if subject.blind else _count(standing.disputed),
        per_hour=per_hour,
        seconds_left=left * 3600 / per_hour if per_hour else None,
        by_reviewer=tuple(
            Pace(
                reviewer=name,
                decided=_count(standing.codes(name) != NOTHING),
                per_hour=rows_per_hour(standing.batch_times(name)),
            )
            for name in names
        ),
    )


def _count(mask: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))


MOST_CLASSES, MOST_PAIRS = 60, 200
"""A matrix of more classes would be megabytes that nobody reads."""

router = APIRouter(prefix="/api")


@router.get("/progress")
def show_progress(desk: At, me: Me = "") -> JSONResponse:
    """What is decided, how fast, and how long the rest will take."""
    with desk.standing() as standing:
        return JSONResponse(asdict(review_progress(standing, me=me)))


@router.get("/matrix")
def show_matrix(
    desk: Seeing,
    reading: Literal["likely", "reviewed"] = "likely",
    flagged: bool | None = None,  # noqa: FBT001 - a field of the address
    state: State = "all",
    me: Me = "",
) -> JSONResponse:
    """Rows by given label and by what the model, or people, take them for."""
    subject = desk.subject
    with desk.standing() as standing:
        mask = mask_of(subject, Asked(flagged=flagged, state=state), standing, me)
        other = consensus(standing) - LABEL if reading == "reviewed" else subject.likely_labels
    assert subject.given_labels is not None  # noqa: S101 - only a blind review has none
    assert other is not None  # noqa: S101
    counted = other >= 0 if mask is None else mask & (other >= 0)
    return JSONResponse(_matrix(desk, subject.given_labels[counted], other[counted]))


@router.get("/agreement")
def show_agreement(desk: Seeing) -> JSONResponse:
    """How far each two reviewers agree on the rows that both decided."""
    with desk.standing() as standing:
        pairs, disputes = agreement(standing), int(standing.disputed.sum())
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
def export(desk: Seeing, format: Annotated[str, Query(max_length=32)] = "csv") -> Response:  # noqa: A002
    """What stands, as a file."""
    chosen = format_named(format)
    with desk.standing() as standing:
        reviewed = reviewed_of(standing)
    headers = {"content-disposition": f'attachment; filename="{chosen.file_name}"'}
    return Response(chosen.write(reviewed).content, media_type=chosen.media_type, headers=headers)


def _matrix(desk: Desk, given: NDArray[np.integer], other: NDArray[np.integer]) -> dict[str, Any]:
    """Counts [given, other]; of many classes only the largest cells off the diagonal."""
    names = desk.subject.class_names
    size = len(names)
    cells = given.astype(np.int64) * size + other
    if size <= MOST_CLASSES:
        return {
            "classes": list(names),
            "counts": np.bincount(cells, minlength=size**2).reshape(size, size).tolist(),
        }
    found, number = np.unique(cells, return_counts=True)
    largest = np.argsort(-number, kind="stable")
    largest = largest[found[largest] // size != found[largest] % size][:MOST_PAIRS]
    pairs = [
        (names[cell // size], names[cell % size], count)
        for cell, count in zip(found[largest].tolist(), number[largest].tolist(), strict=True)
    ]
    return {"classes": list(names), "pairs": pairs}
