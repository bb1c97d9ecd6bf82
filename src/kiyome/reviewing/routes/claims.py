"""Whose a name is in a blind review: it belongs to the browser that used it first.

Otherwise who asks in the name of a colleague would read what that colleague decided. A browser keeps a random
word in a cookie; the first event in a name holds a keyed digest of it, and the browser with this word has the
name. Where the review shows everyone's decisions, names are taken on trust.
"""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from anyio import to_thread
from fastapi import Request, Response

from kiyome.artifacts.reviewer_names import composed
from kiyome.reviewing.desk import Desk
from kiyome.reviewing.routes.asking import At, refused

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
