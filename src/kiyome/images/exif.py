"""The EXIF orientation: how a camera was held, and how to turn its pixels upright."""

import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

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
