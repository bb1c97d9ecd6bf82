"""The page, its static files, and the photos."""

import hashlib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Query, Request, Response

from kiyome.reviewing.routes.dependencies import At, Row, http_error, keep_words, not_found
from kiyome.reviewing.session import ReviewSession
from kiyome.reviewing.thumbnails import SIDES, photo_jpeg

MAX_DECODERS = 4
"""Photos decoded at once; a large one takes 0.5 GB, and decisions must not wait behind them."""

router = APIRouter()
_decoders = CapacityLimiter(MAX_DECODERS)

Key = Annotated[
    str, Query(max_length=64, description="The photo_key of /api/review: then the browser may keep it.")
]


@router.get("/photos/{row}")
async def send_photo(session: At, row: Row, request: Request, side: int = 1600, v: Key = "") -> Response:
    """Send the photo of a row, its longest side at most `side`."""
    if side not in SIDES:
        raise http_error(
            422, f"side={side} is not a size of photos.", expected=f"Expected {SIDES}.", remedy="Choose one."
        )
    if (seen := _unchanged(session, request, row, side)) is not None:
        return seen
    jpeg = await to_thread.run_sync(photo_jpeg, session.items, row, side, limiter=_decoders)
    return Response(jpeg, media_type="image/jpeg", headers=_headers(session, row, side, v))


@router.get("/thumbnails/{row}")
async def send_thumbnail(session: At, row: Row, request: Request, v: Key = "") -> Response:
    """Send the thumbnail of a row's photo, made now if it is not yet in the pack."""
    if (seen := _unchanged(session, request, row, SIDES[0])) is not None:
        return seen
    jpeg = session.thumbnails.read(row)
    if jpeg is None:
        jpeg = await to_thread.run_sync(photo_jpeg, session.items, row, SIDES[0], limiter=_decoders)
    return Response(jpeg, media_type="image/jpeg", headers=_headers(session, row, SIDES[0], v))


def _headers(session: ReviewSession, row: int, side: int, key: str) -> dict[str, str]:
    """Return headers that cache the photo for this start only: row 7 of another run has the same address."""
    keep = "private, max-age=31536000, immutable" if key == session.photo_key else "private, no-cache"
    return {"etag": _tag(session, row, side), "cache-control": keep}


def _unchanged(session: ReviewSession, request: Request, row: int, side: int) -> Response | None:
    """Return the answer to a browser that has the photo; nothing is decoded for it."""
    if _tag(session, row, side) not in request.headers.get("if-none-match", ""):
        return None
    return Response(status_code=304, headers=_headers(session, row, side, ""))


def _tag(session: ReviewSession, row: int, side: int) -> str:
    return f'"{session.photo_key}-{row}-{side}"'


KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".md": "text/markdown"}


@router.get("/")
def show_page(session: At, request: Request) -> Response:
    """Send the page; its content comes from the routes below /api."""
    if (word := request.query_params.get("word")) is not None:
        return _keep_word(session, request, word)
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("kiyome.reviewing", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = sorted(static_files())
    page = environment.get_template("shell.html").render(
        title=session.items.title,
        csrf=session.csrf,
        icons=[name for name in names if name.endswith(".svg") and "icon" in name],
        sheets=[name for name in names if name.endswith(".css")],
        modules=[name for name in names if name.endswith(".js")],
    )
    answer = Response(page, media_type="text/html; charset=utf-8")
    if session.items.blind:
        keep_words(answer, session, request)
    return answer


def _keep_word(session: ReviewSession, request: Request, word: str) -> Response:
    """Redirect to the same page without the word, which the browser keeps as a cookie."""
    rest = urlencode([pair for pair in request.query_params.multi_items() if pair[0] != "word"])
    answer = Response(status_code=303, headers={"location": f"/?{rest}".rstrip("?")})
    keep_words(answer, session, request, word)
    return answer


@router.get("/static/{name:path}")
def send_static(name: str, request: Request) -> Response:
    """Send one of the files that existed at the start: a name is looked up, never joined to a path."""
    path = static_files().get(name)
    if path is None:
        raise not_found("The page has no file of this name.")
    content = path.read_bytes()
    kind = KINDS.get(path.suffix, "text/plain")
    return tagged(request, content, kind=f"{kind}; charset=utf-8", keep="no-cache")


def tagged(request: Request, content: bytes, *, kind: str, keep: str) -> Response:
    """Return the content with its digest, or 304 where the browser has it."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": keep}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=kind, headers=headers)


@cache
def static_files() -> dict[str, Path]:
    """Return the page's files by their names below `static`."""
    root = Path(str(resources.files("kiyome.reviewing") / "static"))
    return {str(path.relative_to(root)): path for path in root.rglob("*") if path.suffix in KINDS}
