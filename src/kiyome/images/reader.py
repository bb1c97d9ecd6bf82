"""One pass over many photos: bytes, sha256, pixels, signature, and what a given function makes of them."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.storage import is_machine_failure
from kiyome.artifacts.table import ALL_BITS
from kiyome.cores import num_cores
from kiyome.errors import InputError, KiyomeError, UnreadablePhoto
from kiyome.images.decode import Photo, decode_photo, read_photo_file
from kiyome.images.duplicates import photo_signature
from kiyome.progress import Progress, no_progress

T = TypeVar("T")
AHEAD_PER_THREAD = 4
MAX_THREADS = 32
NAMED_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".apng": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".gif": "GIF",
    ".bmp": "BMP",
    ".avif": "AVIF",
    ".heic": "HEIF",
    ".heif": "HEIF",
    ".hif": "HEIF",
    ".dcm": "DICOM",
    ".dicom": "DICOM",
}


@dataclass(frozen=True, kw_only=True)
class PhotoFacts:
    """Facts about a readable photo, decided by its bytes and `shrink_to`, not by its name."""

    width: int
    """Upright width in pixels."""
    height: int
    """Upright height in pixels."""
    format: str
    """One of `kiyome.images.pillow.FORMATS`, by content."""
    findings: tuple[str, ...]
    """Remarks for people, in a few plain words."""
    pixels_sha256: str
    """SHA-256 of the decoded pixels and their shape, 64 hex digits."""
    signature: NDArray[np.uint8]
    """(SIGNATURE_BYTES,) tiny picture for the search of near duplicates."""


@dataclass(frozen=True, kw_only=True)
class PhotoRecord(Generic[T]):
    """One row of a pass over photos; either `reason` or `facts` is None."""

    row: int
    """Index into the given paths."""
    reason: str | None
    """Why the photo is unreadable, in a few plain words; None for a readable photo."""
    sha256: str | None
    """SHA-256 of the file's bytes, 64 hex digits; None where not even the bytes could be read."""
    facts: PhotoFacts | None
    """None for an unreadable photo."""
    findings: tuple[str, ...]
    """Those of `facts`, and what the file name adds."""
    prepared: T | None
    """The result of `prepare`; None if unreadable, without `prepare`, or already known."""


def read_photos(
    paths: Sequence[str | PathLike[str]],
    *,
    prepare: Callable[[Photo], T] | None = None,
    known: Callable[[str], PhotoFacts | None] | None = None,
    shrink_to: int | None = None,
    deep_bits: int = ALL_BITS,
    num_threads: int | None = None,
    on_progress: Progress = no_progress,
) -> Iterator[PhotoRecord[T]]:
    """Yield a record of each photo in the order of `paths`, decoded by threads a few photos ahead.

    An unreadable photo is a record with a reason: it never stops the pass and never shifts a row. Pixels are
    dropped after `prepare`, so memory stays bounded.

    `prepare` is called in a thread with each decoded photo and gives `record.prepared`; its errors end the
    pass. `known` is called in a thread with the sha256 of a file; where it returns facts, the photo is not
    decoded (``known=cache.get``). `shrink_to` lets JPEG decode faster while the short side keeps so many
    pixels; `deep_bits` of 16 bits a channel are in use. `on_progress` is called with ``("read photos", done,
    total)`` after each photo.

    >>> [record.reason for record in read_photos(["no/such.jpg", "/"])]
    ['no such file', 'a folder']
    """
    for name, value in (("num_threads", num_threads), ("shrink_to", shrink_to)):
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}, below 1.", remedy=f"Leave {name} out.")
    threads = min(num_threads or num_cores(), MAX_THREADS)

    def read(row: int) -> PhotoRecord[T]:
        return _read_one(
            row, paths[row], prepare=prepare, known=known, shrink_to=shrink_to, deep_bits=deep_bits
        )

    def records() -> Iterator[PhotoRecord[T]]:
        with ThreadPoolExecutor(threads, "kiyome-photos") as pool:
            for record in _in_order(pool, read, len(paths), ahead=AHEAD_PER_THREAD * threads):
                on_progress("read photos", record.row + 1, len(paths))
                yield record

    return records()


def _in_order(
    pool: ThreadPoolExecutor, read: Callable[[int], PhotoRecord[T]], num_rows: int, *, ahead: int
) -> Iterator[PhotoRecord[T]]:
    """Yield results in order while only a few photos wait; drop them when the caller stops early."""
    rows = iter(range(num_rows))
    waiting: deque[Future[PhotoRecord[T]]] = deque(pool.submit(read, row) for row in islice(rows, ahead))
    try:
        while waiting:
            record = waiting.popleft().result()
            waiting.extend(pool.submit(read, row) for row in islice(rows, 1))
            yield record
    finally:
        for future in waiting:
            future.cancel()


def _read_one(
    row: int,
    path: str | PathLike[str],
    *,
    prepare: Callable[[Photo], T] | None,
    known: Callable[[str], PhotoFacts | None] | None,
    shrink_to: int | None,
    deep_bits: int,
) -> PhotoRecord[T]:
    sha256 = prepared = None
    try:
        data = read_photo_file(path)
        sha256 = hashlib.sha256(data).hexdigest()
        facts = known(sha256) if known else None
        if facts is None:
            photo = decode_photo(data, shrink_to=shrink_to, deep_bits=deep_bits)
            facts = photo_facts(photo)
            prepared = prepare(photo) if prepare else None
    except UnreadablePhoto as error:
        if is_machine_failure(error):  # as unreadable it would change results for good
            raise KiyomeError(
                f"{os.fsdecode(path)} could not be read, since disk or memory failed ({error.reason}).",
                remedy="Run the same command again. If that fails too, take the photo out of the data.",
            ) from error
        return PhotoRecord(
            row=row, reason=error.reason, sha256=sha256, facts=None, findings=(), prepared=None
        )
    findings = (*facts.findings, *_misnamed(path, facts.format))
    return PhotoRecord(row=row, reason=None, sha256=sha256, facts=facts, findings=findings, prepared=prepared)


def photo_facts(photo: Photo) -> PhotoFacts:
    """Return the facts about a decoded photo."""
    pixels = photo.pixels
    digest = hashlib.sha256(f"{pixels.shape}".encode())
    digest.update(pixels.data)
    return PhotoFacts(
        width=photo.width,
        height=photo.height,
        format=photo.format,
        findings=photo.findings,
        pixels_sha256=digest.hexdigest(),
        signature=photo_signature(pixels),
    )


def _misnamed(path: str | PathLike[str], format_: str) -> tuple[str, ...]:
    suffix = Path(path).suffix.lower()
    named = NAMED_FORMATS.get(suffix)
    return (f"named {suffix} but is {format_}",) if named not in (None, format_) else ()
