"""Small copies of all photos in one file, made in the background and read by row. N rows.

    head       64 bytes: what the file is, and of which table
    index      N entries of 16 bytes: where the row's JPEG lies, its length, its CRC-32
    JPEGs      in the order in which they were made

A JPEG is appended before its entry is written, and an entry that does not fit its JPEG counts for nothing: a
kill at any instant loses at most the photos in hand, and making goes on where it stopped.
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
from kiyome.decisions.items import Subject
from kiyome.errors import InputError, UnreadablePhoto
from kiyome.images.decode import decode_photo, read_photo_file
from kiyome.images.pillow import unreadable_file
from kiyome.images.reader import read_photos
from kiyome.progress import Progress, no_progress

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


SIDE = 256
"""Longest side in pixels."""
MAGIC = b"kiyome thumbs 1\n"
HEAD_BYTES = 64
ENTRY = np.dtype([("place", "<u8"), ("length", "<u4"), ("crc", "<u4")])
UNREADABLE = 1
"""The place of a photo that was tried and cannot be read; no JPEG lies there."""
ROWS_AT_ONCE = 1024


class Thumbnails:
    """The file of thumbnails of one subject; threads may read while one makes.

    Parameters
    ----------
    subject : Subject
        Whose photos.
    path : Path
        The file; made if absent, and anew where it belongs to another table or was cut short.
    """

    def __init__(self, subject: Subject, path: Path) -> None:
        self.subject, self.path = subject, path
        self.problem: str | None = None
        """Why making stopped before its end, such as a full disk."""
        head = _head(subject)
        if not _is_whole(path, head, len(subject)):
            with writing(path, private=True) as file:
                file.write(head + bytes(ENTRY.itemsize * len(subject)))
        self._file = open_in_place(path)
        self._index = np.memmap(self._file, ENTRY, "r+", offset=HEAD_BYTES, shape=(len(subject),))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    @property
    def num_made(self) -> int:
        """Rows that were tried, unreadable ones among them."""
        return int(np.count_nonzero(self._index["place"]))

    def read(self, row: int) -> bytes | None:
        """The JPEG of a row; None where it is not made, or the photo cannot be read."""
        place, length, crc = self._index[row].tolist()
        if place <= UNREADABLE:
            return None
        jpeg = os.pread(self._file.fileno(), length, place)
        return jpeg if len(jpeg) == length and zlib.crc32(jpeg) == crc else None

    def make(
        self,
        rows: Iterable[int],
        *,
        stop: threading.Event | None = None,
        num_threads: int | None = None,
        on_progress: Progress = no_progress,
    ) -> None:
        """Make what is missing of these rows, in their order, until done or told to stop.

        Does nothing where another process makes them at the moment.

        Parameters
        ----------
        rows
            Those needed first come first.
        stop
            Looked at after each photo.
        num_threads
            As for `kiyome.images.reader.read_photos`.
        on_progress
            Called as ``on_progress("thumbnails", done, total)`` after each photo.
        """
        missing = [row for row in rows if self._index["place"][row] == 0 or self._is_torn(row)]
        with _held(self._file.fileno()) as is_mine:
            if not is_mine:
                return
            end = self._file.seek(0, os.SEEK_END)
            for done, (row, jpeg) in enumerate(_thumbnails(self.subject, missing, num_threads), start=1):
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
        """Whether an entry leads beyond the file, as it may after a power cut."""
        place, length, _ = self._index[row].tolist()
        return bool(place > UNREADABLE and place + length > os.fstat(self._file.fileno()).st_size)


@contextmanager
def made_in_background(subject: Subject, path: Path) -> Iterator[Thumbnails]:
    """Thumbnails that a thread makes while the block runs, the most suspicious rows first.

    Whatever goes wrong there is in `Thumbnails.problem`, and ends the making only.
    """
    thumbnails, stop = Thumbnails(subject, path), threading.Event()

    def work() -> None:
        try:
            spared = max(1, num_cores() // 2)  # the other cores show photos to people
            thumbnails.make(subject.ranking.tolist(), stop=stop, num_threads=spared)
        except OSError as error:
            thumbnails.problem = f"Thumbnails are made no more: {error.strerror or error}."

    thread = threading.Thread(target=work, name="kiyome-thumbnails", daemon=True)
    thread.start()
    try:
        yield thumbnails
    finally:
        stop.set()
        thread.join()
        thumbnails.close()


def _thumbnails(
    subject: Subject, rows: list[int], num_threads: int | None
) -> Iterator[tuple[int, bytes | None]]:
    """Row and JPEG of each, decoded by threads a few photos ahead; None for an unreadable photo."""
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        records = read_photos(
            [_path_to_try(subject, row) for row in part],
            prepare=lambda photo: as_jpeg(photo.pixels, SIDE),
            shrink_to=SIDE,
            num_threads=num_threads,
        )
        for row, record in zip(part, records, strict=True):
            yield row, record.prepared


def _path_to_try(subject: Subject, row: int) -> str:
    try:
        return safe_path(subject.photo_paths[row], subject.photo_root)
    except UnreadablePhoto:
        return ""  # which no file has for a name


def _head(subject: Subject) -> bytes:
    digest = hashlib.sha256(f"{SIDE} {subject.table_content} {subject.fingerprint}".encode())
    digest.update("\0".join(subject.image_ids).encode())  # a blind subject has another order
    return (MAGIC + digest.digest() + len(subject).to_bytes(8, "little")).ljust(HEAD_BYTES, b"\0")


def _is_whole(path: Path, head: bytes, num_rows: int) -> bool:
    try:
        with path.open("rb") as file:
            long_enough = os.fstat(file.fileno()).st_size >= HEAD_BYTES + ENTRY.itemsize * num_rows
            return long_enough and file.read(HEAD_BYTES) == head
    except FileNotFoundError:
        return False


@contextmanager
def _held(descriptor: int) -> Iterator[bool]:
    """Whether this process may write; the system lets go of the lock however the process ends."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
        return
    try:
        yield True
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
