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

from kiyome.artifacts.storage import open_in_place, writing
from kiyome.cores import num_cores
from kiyome.errors import UnreadablePhoto
from kiyome.images.reader import read_photos
from kiyome.progress import Progress, silent
from kiyome.reviewing.photos import as_jpeg, safe_path
from kiyome.reviewing.subject import Subject

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
        on_progress: Progress = silent,
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
