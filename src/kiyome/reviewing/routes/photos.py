"""Photos by row number, always written anew: no path and no byte of a file crosses this line."""

from typing import Annotated

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Query, Request, Response

from kiyome.reviewing.desk import Desk
from kiyome.reviewing.photos import SIDES, photo_jpeg
from kiyome.reviewing.routes.asking import At, Row, refused

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
