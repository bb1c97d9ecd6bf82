"""Photos of rows as JPEG, and thumbnails of all in one file, made in the background. N rows.

    head       64 bytes: the kind of file, and a digest of the table
    index      N entries of 16 bytes: offset of the row's JPEG, its length, its CRC-32
    JPEGs      in the order in which they were made

A JPEG is appended before its entry is written, and an entry that does not fit its JPEG does not count: a kill
at any instant loses at most the photos in progress, and the rest is made later.
"""

import fcntl
import hashlib
import os
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.storage import open_in_place, writing
from kiyome.cores import num_cores
from kiyome.decisions.items import ReviewItems
from kiyome.errors import InputError, UnreadablePhoto
from kiyome.images.decode import decode_photo, read_photo_file
from kiyome.images.pillow import unreadable_file
from kiyome.images.reader import read_photos
from kiyome.progress import Progress, no_progress

SIDES = (256, 800, 1600, 3200)
"""Longest sides, in pixels, of photos on the page; a smaller photo keeps its size."""

QUALITY, QUALITY_OF_SMALL = 90, 98
SMALL = 256
"""Pixels: the page enlarges such photos, and would show what JPEG loses."""


def photo_jpeg(items: ReviewItems, row: int, side: int) -> bytes:
    """Return the photo of a row as JPEG: upright, RGB, its longest side at most `side` (of `SIDES`) pixels.

    >>> import io, tempfile
    >>> from PIL import Image
    >>> folder = Path(tempfile.mkdtemp())
    >>> Image.new("RGB", (900, 450), "red").save(folder / "a.png")
    >>> items = ReviewItems(run="r", title="r", blind=True, audit=None, image_ids=["a"], shown_ids=["a"],
    ...     class_names=("cat", "dog"), fingerprint="", table_content="", photo_root=folder,
    ...     photo_paths=[str(folder / "a.png")], ranking=np.arange(1))
    >>> Image.open(io.BytesIO(photo_jpeg(items, 0, 800))).size
    (800, 400)
    """
    if not 0 <= row < len(items):
        raise InputError(
            f"There is no row {row}.", expected=f"Rows are 0 to {len(items) - 1}.", remedy="Choose one."
        )
    if side not in SIDES:
        raise InputError(
            f"side={side} is not a size of photos.", expected=f"Expected {SIDES}.", remedy="Choose one."
        )
    path = safe_path(items.photo_paths[row], items.photo_root)
    return as_jpeg(
        decode_photo(read_photo_file(path), shrink_to=side, deep_bits=items.deep_bits).pixels, side
    )


def safe_path(path: str, root: Path) -> str:
    """Return the path; an UnreadablePhoto where it is empty or outside of the folder, be it by a link."""
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
    """Return pixels (H, W, 3) as JPEG in full color resolution, the longest side at most `side`.

    >>> as_jpeg(np.zeros((30, 40, 3), np.uint8), 256)[:3].hex()
    'ffd8ff'
    """
    import simplejpeg

    quality = QUALITY_OF_SMALL if max(pixels.shape) <= SMALL else QUALITY
    if max(pixels.shape) > side:
        pixels = _shrunk(pixels, side)
    # Pillow would block every other thread of the server while it writes
    return bytes(simplejpeg.encode_jpeg(pixels, quality=quality, colorsubsampling="444", fastdct=False))


def _shrunk(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.array(image)


SIDE = 256
"""Longest side in pixels."""
MAGIC = b"kiyome thumbs 1\n"
HEAD_BYTES = 64
ENTRY = np.dtype([("offset", "<u8"), ("length", "<u4"), ("crc", "<u4")])
UNREADABLE = 1
"""The offset in the entry of an unreadable photo, which has no JPEG."""
ROWS_AT_ONCE = 1024


class Thumbnails:
    """The file of thumbnails of one review; threads may read while one of them makes more.

    The file is created if absent, and again where it belongs to another table or was cut short.
    """

    def __init__(self, items: ReviewItems, path: Path) -> None:
        self.items, self.path = items, path
        self.problem: str | None = None
        """The reason why thumbnails are no longer made, such as a full disk."""
        head = _head(items)
        if not _is_whole(path, head, len(items)):
            with writing(path, private=True) as file:
                file.write(head + bytes(ENTRY.itemsize * len(items)))
        self._file = open_in_place(path)
        self._index = np.memmap(self._file, ENTRY, "r+", offset=HEAD_BYTES, shape=(len(items),))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def num_made(self) -> int:
        """Number of rows done, unreadable ones included."""
        return int(np.count_nonzero(self._index["offset"]))

    def read(self, row: int) -> bytes | None:
        """Return the JPEG of a row; None where it is not made yet, or the photo cannot be read."""
        offset, length, crc = self._index[row].tolist()
        if offset <= UNREADABLE:
            return None
        jpeg = os.pread(self._file.fileno(), length, offset)
        return jpeg if len(jpeg) == length and zlib.crc32(jpeg) == crc else None

    def make(
        self,
        rows: Iterable[int],
        *,
        stop: threading.Event | None = None,
        num_threads: int | None = None,
        on_progress: Progress = no_progress,
    ) -> None:
        """Make the missing thumbnails of these rows, in their order, until done or stopped.

        Does nothing while another process makes them. `on_progress` is called after each photo.
        """
        missing = [row for row in rows if self._index["offset"][row] == 0 or self._is_torn(row)]
        with _try_lock(self._file.fileno()) as locked:
            if not locked:
                return
            end = self._file.seek(0, os.SEEK_END)
            for done, (row, jpeg) in enumerate(_thumbnails(self.items, missing, num_threads), start=1):
                end = self._put(row, jpeg, end)
                on_progress("thumbnails", done, len(missing))
                if stop is not None and stop.is_set():
                    break

    def _put(self, row: int, jpeg: bytes | None, end: int) -> int:
        if jpeg is None:
            self._index[row] = (UNREADABLE, 0, 0)
            return end
        self._file.write(jpeg)
        self._file.flush()
        self._index[row] = (end, len(jpeg), zlib.crc32(jpeg))
        return end + len(jpeg)

    def _is_torn(self, row: int) -> bool:
        """Return whether an entry points beyond the file, as it may after a power cut."""
        offset, length, _ = self._index[row].tolist()
        return bool(offset > UNREADABLE and offset + length > os.fstat(self._file.fileno()).st_size)


@contextmanager
def built_in_background(items: ReviewItems, path: Path) -> Iterator[Thumbnails]:
    """Thumbnails that a thread makes while the block runs, the most suspicious rows first.

    An error there stops the thread only, and is in `Thumbnails.problem`.
    """
    thumbnails, stop = Thumbnails(items, path), threading.Event()

    def work() -> None:
        try:
            num_threads = max(1, num_cores() // 2)  # the other cores serve photos to people
            thumbnails.make(items.ranking.tolist(), stop=stop, num_threads=num_threads)
        except OSError as error:
            thumbnails.problem = f"Thumbnails are no longer made: {error.strerror or error}."

    thread = threading.Thread(target=work, name="kiyome-thumbnails", daemon=True)
    thread.start()
    try:
        yield thumbnails
    finally:
        stop.set()
        thread.join()
        thumbnails.close()


def _thumbnails(
    items: ReviewItems, rows: list[int], num_threads: int | None
) -> Iterator[tuple[int, bytes | None]]:
    """Yield row and JPEG of each, decoded by threads a few photos ahead; None for an unreadable photo."""
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        records = read_photos(
            [_path_to_try(items, row) for row in part],
            prepare=lambda photo: as_jpeg(photo.pixels, SIDE),
            shrink_to=SIDE,
            deep_bits=items.deep_bits,
            num_threads=num_threads,
        )
        for row, record in zip(part, records, strict=True):
            yield row, record.prepared


def _path_to_try(items: ReviewItems, row: int) -> str:
    try:
        return safe_path(items.photo_paths[row], items.photo_root)
    except UnreadablePhoto:
        return ""  # no file has this name


def _head(items: ReviewItems) -> bytes:
    digest = hashlib.sha256(f"{SIDE} {items.table_content} {items.fingerprint}".encode())
    digest.update("\0".join(items.image_ids).encode())  # a blind review has another order
    return (MAGIC + digest.digest() + len(items).to_bytes(8, "little")).ljust(HEAD_BYTES, b"\0")


def _is_whole(path: Path, head: bytes, num_rows: int) -> bool:
    try:
        with path.open("rb") as file:
            long_enough = os.fstat(file.fileno()).st_size >= HEAD_BYTES + ENTRY.itemsize * num_rows
            return long_enough and file.read(HEAD_BYTES) == head
    except FileNotFoundError:
        return False


@contextmanager
def _try_lock(descriptor: int) -> Iterator[bool]:
    """Yield whether this process has the lock; the system releases it however the process ends."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
        return
    try:
        yield True
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
