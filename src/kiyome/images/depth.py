"""Bits in use in photos with 16 bits a channel: cameras and scanners often fill 10, 12 or 14 of them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from os import PathLike, fspath
from pathlib import Path

from kiyome.artifacts.table import ALL_BITS
from kiyome.cores import num_cores
from kiyome.errors import UnreadablePhoto
from kiyome.images.decode import photo_format, read_photo_file
from kiyome.images.pillow import is_deep_png, largest_value

DEEP_ENDINGS = ("png", "tif", "tiff")
MOST_LOOKED_AT = 256
DEPTHS = (8, 10, 12, 14, ALL_BITS)
HEADER_BYTES = 32


def bits_in_use(paths: Sequence[str | PathLike[str]]) -> int:
    """Return the bits that the largest value of the 16-bit photos needs: 8, 10, 12, 14 or 16; 16 without any.

    Up to 256 PNG and TIFF files, evenly spread over the set, are looked at. A TIFF file may state its largest
    value. Photos that cannot be read count for nothing.

    >>> bits_in_use(["a.jpg", "no/such.png"])
    16
    """
    may_be_deep = [path for path in paths if _may_be_deep(fspath(path))]
    step = max(1, -(-len(may_be_deep) // MOST_LOOKED_AT))
    with ThreadPoolExecutor(num_cores(), "kiyome-depth") as pool:
        largest = max(pool.map(_largest_value, may_be_deep[::step]), default=0)
    return next(bits for bits in DEPTHS if largest < 1 << bits) if largest else ALL_BITS


def _may_be_deep(path: str) -> bool:
    """Whether a file is named like a PNG or TIFF file, or has no ending; fast, for millions of names."""
    ending = path.rpartition(".")[2].lower()
    return ending in DEEP_ENDINGS or "/" in ending


def _largest_value(path: str | PathLike[str]) -> int:
    """Return the largest value of a photo with 16 bits a channel; 0 for any other file."""
    try:
        with Path(path).open("rb") as file:
            header = file.read(HEADER_BYTES)
        format_ = photo_format(header)
        if format_ == "TIFF" or is_deep_png(header):
            return largest_value(read_photo_file(path), format_)
    except (OSError, ValueError, UnreadablePhoto):
        pass
    return 0
