"""Whose a name is in a blind review: it belongs to the browser that used it first.

Otherwise who asks in the name of a colleague would read what that colleague decided. A browser keeps a random
word in a cookie; the first event in a name holds a keyed digest of it, and the browser with this word has the
name. Where the review shows everyone's decisions, names are taken on trust.
"""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from anyio import to_thread
from fastapi import Depends, HTTPException, Path, Query, Request, Response
from pydantic import AfterValidator

from kiyome.decisions.events import composed
from kiyome.errors import KiyomeError
from kiyome.reviewing.session import Desk


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

MOST_WORDS = 16
"""Of one browser: its own, and those for names that it was given; the newest are kept."""
SECONDS = 365 * 24 * 3600

_WORD = re.compile("[0-9a-f]{32}")


async def own_names(desk: At, request: Request) -> None:
    """Refuse to show what belongs to another person; for every route, so that a new one is guarded, too."""
    if desk.subject.blind:
        for name in request.query_params.getlist("me"):
            await to_thread.run_sync(refuse_taken, desk, request, name)


@contextmanager
def in_own_name(desk: Desk, request: Request, name: str) -> Iterator[None]:
    """Refuse to act in the name of another person, also where two use a new name at the same instant."""
    refuse_taken(desk, request, name)
    try:
        yield
    finally:
        refuse_taken(desk, request, name)


def refuse_taken(desk: Desk, request: Request, name: str) -> None:
    """Refuse a name that another browser used first."""
    name, words = composed(name), words_of(desk, request)
    if not desk.subject.blind or desk.secret.word(name) in words:
        return
    with desk.standing() as standing:
        first = standing.first_event(name)
    if first and first.seen.get("browser") not in [desk.secret.browser(word) for word in words]:
        raise refused(
            423,
            "In a blind review a name belongs to the browser that used it first.",
            came="a name that another browser uses",
            remedy="Choose another name. If this one is yours, ask whoever runs the server for the address "
            "that kiyome review RUN --blind --as NAME prints for you.",
        )


def browser_of(desk: Desk, request: Request) -> str | None:
    """What the log tells of the browser that decides; nothing where names are taken on trust."""
    if not desk.subject.blind:
        return None
    if not (words := words_of(desk, request)):
        raise refused(
            423,
            "In a blind review a browser keeps a cookie, which shows whose decisions are whose.",
            came="none",
            remedy="Allow cookies for this page, and load it again.",
        )
    return desk.secret.browser(words[0])


def words_of(desk: Desk, request: Request) -> list[str]:
    """The words that a browser keeps, its own first; none before it opened the page."""
    return [word for word in request.cookies.get(_cookie(desk), "").split(".") if _WORD.fullmatch(word)]


def keep_words(answer: Response, desk: Desk, request: Request, *more: str) -> None:
    """Let the browser keep its own word, made now if need be, and more."""
    own, *others = words_of(desk, request) or [secrets.token_hex(16)]
    others = [word for word in others if word not in more]
    others += [word for word in more if _WORD.fullmatch(word)]
    words = ".".join([own, *others[1 - MOST_WORDS :]])
    answer.set_cookie(_cookie(desk), words, max_age=SECONDS, httponly=True, samesite="strict")


def _cookie(desk: Desk) -> str:
    """Browsers keep one jar for all ports of a host, so the name tells the review."""
    return f"kiyome-names-{desk.secret.word('')[:8]}"
