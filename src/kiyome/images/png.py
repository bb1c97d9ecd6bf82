"""Whether a PNG holds all the pixels that its header promises; Pillow fills what is missing with zeros."""

import struct
import zlib
from collections.abc import Iterator

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel by the header's color type."""
WHOLE = ((0, 0, 1, 1),)
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column, first row, column step and row step of each pass of an interlaced PNG."""
SIGNATURE_BYTES = 8
PIECE_BYTES = 1 << 20


def has_all_rows(data: bytes) -> bool:
    """Return whether the compressed pixels are as many as the header says; takes little memory.

    Parameters
    ----------
    data
        A PNG whose chunks are whole.

    Examples
    --------
    >>> import io
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (4, 3)).save(file, "PNG")
    >>> has_all_rows(file.getvalue())
    True
    """
    width, height, depth, color, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, SIGNATURE_BYTES + 8)
    promised = 0
    for left, top, across, down in ADAM7 if interlaced else WHOLE:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            promised += rows * (1 + (columns * depth * CHANNELS[color] + 7) // 8)
    return _inflated_size(data, up_to=promised) >= promised


def _inflated_size(data: bytes, *, up_to: int) -> int:
    """Count the bytes that the pixel chunks inflate to, piece by piece, and no more than needed."""
    inflater = zlib.decompressobj()
    size = 0
    for content in _pixel_chunks(data):
        left: bytes | memoryview = content
        while len(left) and size < up_to and not inflater.eof:
            size += len(inflater.decompress(left, PIECE_BYTES))
            left = inflater.unconsumed_tail
    while size < up_to and not inflater.eof and (piece := inflater.decompress(b"", PIECE_BYTES)):
        size += len(piece)
    return size


def _pixel_chunks(data: bytes) -> Iterator[memoryview]:
    at, view = SIGNATURE_BYTES, memoryview(data)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IDAT":
            yield view[at + 8 : at + 8 + length]
        at += 12 + length
