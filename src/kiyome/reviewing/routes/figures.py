"""How far the review is: progress, the matrix of classes, agreement; and decisions as files."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from numpy.typing import NDArray

from kiyome.reviewing.agreement import agreement, consensus
from kiyome.reviewing.desk import Desk
from kiyome.reviewing.exchange.formats import format_named
from kiyome.reviewing.exchange.outgoing import reviewed_of
from kiyome.reviewing.pace import review_progress
from kiyome.reviewing.queue import Asked, State, mask_of
from kiyome.reviewing.routes.asking import At, Me, Seeing
from kiyome.reviewing.standing import LABEL

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
