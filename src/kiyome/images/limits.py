"""What a photo may be at most, and the refusals that say so."""

import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from kiyome.errors import UnreadablePhoto

ORIENTATION_TAG, LONG = 0x0112, 4
UPRIGHT: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}
"""EXIF 2.3, tag Orientation: stored pixels (H, W, 3) to a view of the upright ones."""


def exif_orientation(exif: bytes) -> int:
    """Return the orientation named in an EXIF block, 1 to 8; 1 where there is none or the block is broken.

    >>> exif_orientation(bytes.fromhex("4d4d002a 00000008 0001 0112 0003 00000001 0006 0000"))
    6
    """
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (num_entries,) = struct.unpack_from(f"{order}H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * num_entries, 12):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, entry)
            if tag == ORIENTATION_TAG:
                (value,) = struct.unpack_from(f"{order}{'I' if kind == LONG else 'H'}", tiff, entry + 8)
                return int(value) if value in UPRIGHT else 1
    except struct.error:
        pass  # a broken block is common, and no reason to refuse the photo
    return 1


FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP")
MAX_FILE_BYTES = 256 * 2**20
MAX_PIXELS = 110_000_000
"""Photos of 108-megapixel cameras pass; the pixels of one photo take at most 330 MB."""
MAX_SCAN_PIXELS = 20 * MAX_PIXELS
"""Pixels times scans of a progressive JPEG: bounds the time that one file can take."""


def unreadable_file(came: str) -> UnreadablePhoto:
    """Return the error for a path whose bytes cannot be had."""
    return UnreadablePhoto(
        "A photo is a regular file that may be read.",
        came=came,
        remedy="Put the photo back, or leave its row out.",
    )


def unreadable_data(came: str) -> UnreadablePhoto:
    """Return the error for bytes that are not one whole photo."""
    return UnreadablePhoto(
        f"A photo is one whole {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file.",
        came=came,
        remedy="Fetch or export the photo again, or leave its row out.",
    )


def check_size(width: int, height: int, *, num_scans: int = 1) -> None:
    """Refuse a photo whose header promises more pixels, or more work, than one photo may take."""
    work = width * height * num_scans
    if width * height > MAX_PIXELS or work > MAX_SCAN_PIXELS:
        scans = f" in {num_scans} scans" if num_scans > 1 else ""
        raise UnreadablePhoto(
            f"A photo has at most {MAX_PIXELS // 10**6} million pixels in a few scans.",
            came=f"{width} x {height} pixels{scans}",
            remedy="Shrink the photo, or leave its row out.",
        )
