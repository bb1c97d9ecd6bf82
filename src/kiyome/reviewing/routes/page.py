"""The page itself and the files that it is made of."""

import hashlib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Query, Request, Response

from kiyome.reviewing.routes.dependencies import At, Row, keep_words, refused, unknown
from kiyome.reviewing.session import Desk
from kiyome.reviewing.thumbnails import SIDES, photo_jpeg

MOST_DECODERS = 4
"""Photos in the works at once; a large one takes 0.5 GB, and decisions must not wait behind them."""

router = APIRouter()
_decoders = CapacityLimiter(MOST_DECODERS)

Key = Annotated[str, Query(max_length=64, description="As /api/review says: then the browser may keep it.")]


@router.get("/photos/{row}")
async def send_photo(desk: At, row: Row, request: Request, side: int = 1600, v: Key = "") -> Response:
    """The photo of a row, its longest side at most `side`."""
    if side not in SIDES:
        raise refused(
            422, f"side is one of {', '.join(map(str, SIDES))}.", came=f"{side}", remedy="Take one."
        )
    if (seen := _seen(desk, request, row, side)) is not None:
        return seen
    jpeg = await to_thread.run_sync(photo_jpeg, desk.subject, row, side, limiter=_decoders)
    return Response(jpeg, media_type="image/jpeg", headers=_headers(desk, row, side, v))


@router.get("/thumbnails/{row}")
async def send_thumbnail(desk: At, row: Row, request: Request, v: Key = "") -> Response:
    """The small copy of a row's photo, made now where it lies in no pack yet."""
    if (seen := _seen(desk, request, row, SIDES[0])) is not None:
        return seen
    jpeg = desk.thumbnails.read(row)
    if jpeg is None:
        jpeg = await to_thread.run_sync(photo_jpeg, desk.subject, row, SIDES[0], limiter=_decoders)
    return Response(jpeg, media_type="image/jpeg", headers=_headers(desk, row, SIDES[0], v))


def _headers(desk: Desk, row: int, side: int, key: str) -> dict[str, str]:
    """Kept for good under the key of this start only: row 7 of another run has the same address."""
    keep = "private, max-age=31536000, immutable" if key == desk.photo_key else "private, no-cache"
    return {"etag": _tag(desk, row, side), "cache-control": keep}


def _seen(desk: Desk, request: Request, row: int, side: int) -> Response | None:
    """The answer to a browser that has the photo; nothing is decoded for it."""
    if _tag(desk, row, side) not in request.headers.get("if-none-match", ""):
        return None
    return Response(status_code=304, headers=_headers(desk, row, side, ""))


def _tag(desk: Desk, row: int, side: int) -> str:
    return f'"{desk.photo_key}-{row}-{side}"'


KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".md": "text/markdown"}


@router.get("/")
def show_page(desk: At, request: Request) -> Response:
    """The shell; whatever it shows comes from the routes below /api."""
    if (word := request.query_params.get("word")) is not None:
        return _keep(desk, request, word)
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
        title=desk.subject.title,
        csrf=desk.csrf,
        icons=[name for name in names if name.endswith(".svg") and "icon" in name],
        sheets=[name for name in names if name.endswith(".css")],
        modules=[name for name in names if name.endswith(".js")],
    )
    answer = Response(page, media_type="text/html; charset=utf-8")
    if desk.subject.blind:
        keep_words(answer, desk, request)
    return answer


def _keep(desk: Desk, request: Request, word: str) -> Response:
    """Lead to the same page without the word, which the browser keeps as a cookie."""
    rest = urlencode([pair for pair in request.query_params.multi_items() if pair[0] != "word"])
    answer = Response(status_code=303, headers={"location": f"/?{rest}".rstrip("?")})
    keep_words(answer, desk, request, word)
    return answer


@router.get("/static/{name:path}")
def send_static(name: str, request: Request) -> Response:
    """One of the files that were there at the start: a name is looked up, never joined to a path."""
    path = static_files().get(name)
    if path is None:
        raise unknown("A file of the page has one of its names.", came="another name")
    content = path.read_bytes()
    kind = KINDS.get(path.suffix, "text/plain")
    return tagged(request, content, kind=f"{kind}; charset=utf-8", keep="no-cache")


def tagged(request: Request, content: bytes, *, kind: str, keep: str) -> Response:
    """The content under its digest, or only word that the browser has it."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": keep}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=kind, headers=headers)


@cache
def static_files() -> dict[str, Path]:
    """The page's files by their names below `static`."""
    root = Path(str(resources.files("kiyome.reviewing") / "static"))
    return {str(path.relative_to(root)): path for path in root.rglob("*") if path.suffix in KINDS}
