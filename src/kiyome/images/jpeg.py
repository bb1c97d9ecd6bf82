"""JPEG bytes to RGB pixels: strict, so that damage shows, and shrunk while decoding where that is allowed."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from kiyome.images.exif import exif_orientation
from kiyome.images.limits import check_size, unreadable_data
from kiyome.images.pillow import decode_with_pillow

START_OF_SCAN, APP1, APP2, STUFFING, PADDING = 0xDA, 0xE1, 0xE2, 0x00, 0xFF
SCAN, END_OF_PHOTO = b"\xff\xda", b"\xff\xd9"


def decode_jpeg(
    data: bytes, *, shrink_to: int | None, findings: list[str]
) -> tuple[NDArray[np.uint8], tuple[int, int], int]:
    """Return pixels as stored (H, W, 3), (width, height) before shrinking, and the EXIF orientation.

    The strict decoder takes each warning of libjpeg for an error. What it refuses and Pillow still decodes
    (flipped bits, false dimensions) is appended to `findings`; what both refuse (truncation) raises.
    """
    import simplejpeg

    height, width, colors, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    check_size(width, height, num_scans=data.count(SCAN))
    orientation = 1
    for marker, content in _segments(data):
        if marker == APP1 and content.startswith(b"Exif\0\0"):
            orientation = exif_orientation(content)
        if marker == APP2 and content.startswith(b"MPF\0"):
            findings.append("first of several frames")
    target = "CMYK" if colors in ("CMYK", "YCCK") else "RGB"
    shrink = _shrink_factor(min(width, height), shrink_to)
    smallest = {"min_height": -(-height // shrink), "min_width": -(-width // shrink)}
    try:
        pixels = simplejpeg.decode_jpeg(data, target, **smallest, strict=True)
    except ValueError:
        if data.rfind(END_OF_PHOTO) < data.rfind(SCAN):  # Pillow may miss it when the last bytes are cut off
            raise unreadable_data("truncated JPEG data (no end marker)") from None
        findings.append("damaged JPEG data")
        pixels, _ = decode_with_pillow(data, "JPEG", findings=findings)
    else:
        if target == "CMYK":  # libjpeg leaves this conversion to others
            pixels, _ = decode_with_pillow(data, "JPEG", findings=findings)
    return pixels, (width, height), orientation


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and content of each segment before the first scan."""
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == START_OF_SCAN:
            return
        if marker in (STUFFING, PADDING):
            at += 1
            continue
        yield marker, data[at + 4 : at + 2 + size]
        at += 2 + max(size, 2)


def _shrink_factor(short_side: int, shrink_to: int | None) -> int:
    """Return 8, 4, 2 or 1: the other steps that JPEG allows decode slower than the full size."""
    if shrink_to is None:
        return 1
    return next((factor for factor in (8, 4, 2) if -(-short_side // factor) >= shrink_to), 1)
