"""What routes share: the desk, rows by number, and answers that say what to do."""

from typing import Annotated, Any

from fastapi import Depends, HTTPException, Path, Query, Request
from pydantic import AfterValidator

from kiyome.artifacts.reviewer_names import composed
from kiyome.errors import KiyomeError
from kiyome.reviewing.desk import Desk


async def desk_of(request: Request) -> Desk:
    """The desk of this app; a coroutine, as a plain function would cost a thread."""
    desk: Desk = request.app.state.desk
    return desk


def refused(status: int, must: str, *, came: str, remedy: str) -> HTTPException:
    """An answer in three parts that is no success."""
    return HTTPException(status, {"must": must, "came": came, "remedy": remedy})


def unknown(must: str, *, came: str) -> HTTPException:
    """404, where a name or number leads nowhere."""
    return refused(404, must, came=came, remedy="Reload the page.")


def parts_of(error: KiyomeError) -> dict[str, Any]:
    """An error as the page shows it."""
    return {"error": {"must": error.must, "came": error.came, "remedy": error.remedy}}


async def row_of(desk: Annotated[Desk, Depends(desk_of)], row: Annotated[int, Path(ge=0, lt=2**31)]) -> int:
    """A row of the table."""
    if row >= len(desk.subject):
        raise unknown(f"Rows are 0 to {len(desk.subject) - 1}.", came=f"row {row}")
    return row


async def open_eyes(desk: Annotated[Desk, Depends(desk_of)]) -> Desk:
    """The desk of a review that may show labels, guesses and what others decided."""
    if desk.subject.blind:
        raise refused(
            403,
            "A blind review shows no label, guess or colleague's decision.",
            came="a question for one",
            remedy="Use 'kiyome decisions' once all have finished.",
        )
    return desk


At = Annotated[Desk, Depends(desk_of)]
Seeing = Annotated[Desk, Depends(open_eyes)]
Row = Annotated[int, Depends(row_of)]
Me = Annotated[str, Query(max_length=64, description="Whose decisions are 'mine'."), AfterValidator(composed)]
