"""Dependencies of routes: the session, rows and names of a request, and errors in three parts.

In a blind review a name belongs to the browser that used it first: otherwise, to ask in a colleague's name
would show what that colleague decided. A browser keeps a random word in a cookie; the first event under a
name holds a keyed digest of it, and the browser with this word owns the name. Where the review shows
everyone's decisions, names are taken on trust.
"""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from anyio import to_thread
from fastapi import Depends, HTTPException, Path, Query, Request, Response
from pydantic import AfterValidator, Field

from kiyome.decisions.events import to_nfc
from kiyome.errors import KiyomeError
from kiyome.reviewing.session import ReviewSession


async def session_of(request: Request) -> ReviewSession:
    """Return the session of this app; a coroutine, as a plain function would cost a thread."""
    session: ReviewSession = request.app.state.session
    return session


def http_error(status: int, problem: str, *, expected: str = "", remedy: str) -> HTTPException:
    """Return an HTTP error in three parts."""
    return HTTPException(status, {"problem": problem, "expected": expected, "remedy": remedy})


def not_found(problem: str, *, expected: str = "") -> HTTPException:
    """Return a 404 in three parts."""
    return http_error(404, problem, expected=expected, remedy="Reload the page.")


def parts_of(error: KiyomeError) -> dict[str, Any]:
    """Return an error as the page reads it."""
    return {"error": {"problem": error.problem, "expected": error.expected, "remedy": error.remedy}}


async def row_of(
    session: Annotated[ReviewSession, Depends(session_of)], row: Annotated[int, Path(ge=0, lt=2**31)]
) -> int:
    """Return a row of the table."""
    if row >= len(session.items):
        raise not_found(f"There is no row {row}.", expected=f"Rows are 0 to {len(session.items) - 1}.")
    return row


async def unblinded_session(session: Annotated[ReviewSession, Depends(session_of)]) -> ReviewSession:
    """Return the session of a review that may show labels, predictions and other people's decisions."""
    if session.items.blind:
        raise http_error(
            403,
            "A blind review shows no label, prediction or colleague's decision.",
            remedy="Use 'kiyome decisions show' once all have finished.",
        )
    return session


At = Annotated[ReviewSession, Depends(session_of)]
Unblinded = Annotated[ReviewSession, Depends(unblinded_session)]
Row = Annotated[int, Depends(row_of)]
Me = Annotated[str, Query(max_length=64, description="Whose decisions are 'mine'."), AfterValidator(to_nfc)]
Name = Annotated[str, Field(max_length=64), AfterValidator(to_nfc)]
"""Of a reviewer, however a keyboard wrote its accents."""

MAX_WORDS = 16
"""Of one browser: its own, and those for names that it was given; the newest are kept."""
SECONDS = 365 * 24 * 3600

_WORD = re.compile("[0-9a-f]{32}")


async def check_names(session: At, request: Request) -> None:
    """Raise an error on a query in another person's name; on every route, also on future ones."""
    if session.items.blind:
        for name in request.query_params.getlist("me"):
            await to_thread.run_sync(refuse_foreign_name, session, request, name)


@contextmanager
def as_reviewer(session: ReviewSession, request: Request, name: str) -> Iterator[None]:
    """Check the name before and after a change: two browsers may begin with it at the same instant."""
    refuse_foreign_name(session, request, name)
    try:
        yield
    finally:
        refuse_foreign_name(session, request, name)


def refuse_foreign_name(session: ReviewSession, request: Request, name: str) -> None:
    """Raise an error on a name that another browser used first."""
    name, words = to_nfc(name), words_of(session, request)
    if not session.items.blind or session.secret.word(name) in words:
        return
    with session.current() as current:
        first = current.first_event(name)
    if first and first.seen.get("browser") not in [session.secret.browser(word) for word in words]:
        raise http_error(
            423,
            "Another browser uses this name.",
            expected="In a blind review a name belongs to the browser that used it first.",
            remedy="Choose another name. If this one is yours, ask the person who runs the server for the "
            "address that `kiyome review RUN --blind --as NAME` prints for you.",
        )


def browser_of(session: ReviewSession, request: Request) -> str | None:
    """Return the log's digest of the browser that decides; None where names are taken on trust."""
    if not session.items.blind:
        return None
    if not (words := words_of(session, request)):
        raise http_error(
            423,
            "The browser sent no cookie.",
            expected="In a blind review a cookie shows whose decisions are whose.",
            remedy="Allow cookies for this page, and load it again.",
        )
    return session.secret.browser(words[0])


def words_of(session: ReviewSession, request: Request) -> list[str]:
    """Return the words that a browser keeps, its own first; none before it opened the page."""
    return [word for word in request.cookies.get(_cookie(session), "").split(".") if _WORD.fullmatch(word)]


def keep_words(answer: Response, session: ReviewSession, request: Request, *more: str) -> None:
    """Let the browser keep its own word, created now if absent, and more."""
    own, *others = words_of(session, request) or [secrets.token_hex(16)]
    others = [word for word in others if word not in more]
    others += [word for word in more if _WORD.fullmatch(word)]
    words = ".".join([own, *others[1 - MAX_WORDS :]])
    answer.set_cookie(_cookie(session), words, max_age=SECONDS, httponly=True, samesite="strict")


def _cookie(session: ReviewSession) -> str:
    """Browsers share cookies between all ports of a host, so the name contains the review."""
    return f"kiyome-names-{session.secret.word('')[:8]}"
