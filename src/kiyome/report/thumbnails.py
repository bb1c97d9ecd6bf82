"""Small JPEG copies of photos, each one carried inside the page and bounded in bytes."""

import base64
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.storage import is_machine_failure
from kiyome.cores import num_cores
from kiyome.errors import UnreadablePhoto
from kiyome.progress import Progress, no_progress

Photo = Callable[[int], NDArray[np.uint8]]
"""Gives the pixels of a row's photo, uint8 (H, W, 3); called from several threads at once."""

SIDE = 160
MAX_BYTES = 12_000
QUALITIES = (82, 64, 40, 15)


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """A photo's small copy: its size in pixels and its JPEG as a data URI."""

    width: int
    height: int
    uri: str


def make_thumbnail(pixels: NDArray[np.uint8]) -> Thumbnail:
    """A copy that fits in 160 x 160 pixels and in 12,000 bytes, the whole photo in view.

    Small photos keep their size and their full color; detail is given up before the bound is.

    >>> make_thumbnail(np.zeros((300, 600, 3), np.uint8)).height
    80
    """
    from PIL import Image

    image = Image.fromarray(pixels)
    tiny = max(image.size) <= SIDE // 2
    image.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=2.0)
    jpeg = b""
    for quality in QUALITIES:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality, subsampling=0 if tiny else 2, optimize=True)
        jpeg = buffer.getvalue()
        if len(jpeg) <= MAX_BYTES:
            break
    uri = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
    return Thumbnail(width=image.width, height=image.height, uri=uri)


def make_thumbnails(
    rows: Sequence[int], photo: Photo, *, on_progress: Progress = no_progress
) -> dict[int, Thumbnail]:
    """Row -> its thumbnail, in the order of `rows`; a photo that cannot be read any more is left out.

    Parameters
    ----------
    rows : sequence of int
        The rows to show.
    photo : callable
        ``photo(row)`` -> uint8 (H, W, 3). Threads call it, so decoding runs on every core, and no more
        photos are in memory at once than there are threads.
    on_progress : callable
        Told ``("report", done, len(rows))`` after each photo.
    """

    def one(row: int) -> Thumbnail | None:
        try:
            return make_thumbnail(photo(row))
        except (UnreadablePhoto, OSError) as error:
            if is_machine_failure(error):
                raise
            return None

    made: dict[int, Thumbnail] = {}
    with ThreadPoolExecutor(max_workers=min(8, num_cores())) as pool:
        for done, (row, thumbnail) in enumerate(zip(rows, pool.map(one, rows), strict=True), start=1):
            if thumbnail is not None:
                made[row] = thumbnail
            on_progress("report", done, len(rows))
    return made
