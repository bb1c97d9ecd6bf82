"""Photos as the page shows them: decoded as the model saw them, and written anew.

The bytes of a file never reach the browser: what hides in them (scripts, positions, frames) stays there.
"""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kiyome.errors import InputError
from kiyome.images.decode import decode_photo, read_photo_file
from kiyome.images.limits import unreadable_file
from kiyome.reviewing.subject import Subject

SIDES = (256, 800, 1600, 3200)
"""Longest sides, in pixels, that a photo is shown at; a smaller photo keeps its size."""

QUALITY, QUALITY_OF_SMALL = 90, 98
SMALL = 256
"""Pixels: the page enlarges such photos, and would show what JPEG loses."""


def photo_jpeg(subject: Subject, row: int, side: int) -> bytes:
    """The photo of a row as JPEG: upright, RGB, its longest side at most `side` pixels.

    Parameters
    ----------
    subject
        Whose rows; no file but theirs is ever opened.
    row
        0 to N - 1.
    side
        One of `SIDES`.

    Raises
    ------
    InputError
        On a row or a side that is not there.
    UnreadablePhoto
        Where the photo is missing, broken, too large, or a link that leaves the photos' folder.

    Examples
    --------
    >>> import io, tempfile
    >>> from PIL import Image
    >>> folder = Path(tempfile.mkdtemp())
    >>> Image.new("RGB", (900, 450), "red").save(folder / "a.png")
    >>> subject = Subject(run="r", title="r", blind=True, audit=None, image_ids=["a"], shown_ids=["a"],
    ...     class_names=("cat", "dog"), fingerprint="", table_content="", photo_root=folder,
    ...     photo_paths=[str(folder / "a.png")], ranking=np.arange(1))
    >>> Image.open(io.BytesIO(photo_jpeg(subject, 0, 800))).size
    (800, 400)
    """
    if not 0 <= row < len(subject):
        raise InputError(
            f"A row lies in 0..{len(subject) - 1}.", came=str(row), remedy="Take a row of the queue."
        )
    if side not in SIDES:
        raise InputError(
            f"A side is one of {', '.join(map(str, SIDES))}.", came=str(side), remedy="Choose one of these."
        )
    path = safe_path(subject.photo_paths[row], subject.photo_root)
    return as_jpeg(decode_photo(read_photo_file(path), shrink_to=side).pixels, side)


def safe_path(path: str, root: Path) -> str:
    """The path itself, if it does not lead out of the folder, not even by a link.

    Raises
    ------
    UnreadablePhoto
        Where it does, or is empty.
    """
    if not path:
        raise unreadable_file("no photo at hand")
    try:
        inside = Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))
    except (OSError, ValueError) as error:
        raise unreadable_file("a file name that cannot be used") from error
    if not inside:
        raise unreadable_file("a link that leaves the data folder")
    return path


def as_jpeg(pixels: NDArray[np.uint8], side: int) -> bytes:
    """Pixels (H, W, 3) as JPEG in full color resolution, the longest side at most `side`.

    >>> as_jpeg(np.zeros((30, 40, 3), np.uint8), 256)[:3].hex()
    'ffd8ff'
    """
    import simplejpeg

    quality = QUALITY_OF_SMALL if max(pixels.shape) <= SMALL else QUALITY
    if max(pixels.shape) > side:
        pixels = _shrunk(pixels, side)
    # Pillow would hold up every other thread of the server while it writes
    return bytes(simplejpeg.encode_jpeg(pixels, quality=quality, colorsubsampling="444", fastdct=False))


def _shrunk(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.array(image)
