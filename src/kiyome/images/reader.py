"""One pass over many photos: bytes, sha256, decoded pixels, signature, and what the caller makes of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from kiyome.images.decode import Photo
from kiyome.progress import Progress, silent

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class PhotoFacts:
    """What is worth remembering of a readable photo; depends on its bytes alone, never on its name."""

    width: int
    """Upright width in pixels."""
    height: int
    """Upright height in pixels."""
    format: str
    """JPEG, PNG, WEBP, TIFF, GIF or BMP, by content."""
    findings: tuple[str, ...]
    """What a person may want to know, in short plain words."""
    signature: NDArray[np.uint8]
    """(SIGNATURE_BYTES,) tiny picture by which near duplicates are found."""


@dataclass(frozen=True, kw_only=True)
class PhotoRecord(Generic[T]):
    """One row of a pass over photos; either `reason` or `facts` is None."""

    row: int
    """Place in the paths that were given."""
    reason: str | None
    """Why the photo cannot be read, in short plain words; None for a readable photo."""
    sha256: str | None
    """Of the file's bytes, 64 hex digits; None where not even the bytes could be read."""
    facts: PhotoFacts | None
    """None for an unreadable photo."""
    prepared: T | None
    """What `prepare` made of the pixels; None if unreadable, without `prepare`, or already known."""


def read_photos(
    paths: Sequence[str | PathLike[str]],
    *,
    prepare: Callable[[Photo], T] | None = None,
    known: Callable[[str], PhotoFacts | None] | None = None,
    shrink_to: int | None = None,
    num_threads: int | None = None,
    on_progress: Progress = silent,
) -> Iterator[PhotoRecord[T]]:
    """Records of all photos in the order of `paths`, decoded by threads a few photos ahead.

    An unreadable photo is a record with a reason: it never stops the pass and never shifts a row.

    Parameters
    ----------
    paths
        Files; one record comes back for each.
    prepare
        Called in a thread with each decoded photo; what it returns is `record.prepared`. Its errors propagate.
    known
        Called in a thread with the sha256 of a file's bytes. Where it returns facts, the photo is not decoded,
        and `record.prepared` is None: the caller has what it needs under that sha256 (``known=cache.get``).
    shrink_to
        Allow the decoder to shrink while the short side stays at least this many pixels: faster for JPEG.
    num_threads
        Threads that read and decode; one per usable core by default.
    on_progress
        Hears ``("read photos", done, total)``.
    """
    raise NotImplementedError
