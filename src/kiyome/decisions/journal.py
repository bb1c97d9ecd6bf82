"""The journal beside a SQLite store: the same events as lines of JSON, for the day the database is lost.

Line n is event n of the store. The database is written first and is the only truth; the journal follows
before a request is answered, and again when the store opens, so it is never ahead and rarely behind. The
journal's lock is the write lock of the store, so processes queue instead of polling a busy database.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

from kiyome.artifacts.storage import OWNER_FOLDER, open_in_place, open_regular, sync_folder
from kiyome.decisions.events import Batch, Event, Line
from kiyome.errors import InputError, StaleArtifact

BLOCK = 65_536
START = b'{"review": '
"""The beginning of each line."""


@contextmanager
def locked_journal(path: Path) -> Iterator[BinaryIO]:
    """The journal, created with its folder if absent, locked for the block and synced after it.

    The lock dies with its process. It is released before the sync, so that the next writer works meanwhile.
    """
    path.parent.mkdir(mode=OWNER_FOLDER, exist_ok=True)
    is_new = not path.exists()
    with open_in_place(path, private=True) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if is_new:
            for folder in (path.parent, path.parent.parent):  # the folder may be as new as the journal
                sync_folder(folder)
        yield file
        file.flush()
        fcntl.flock(file, fcntl.LOCK_UN)
        os.fsync(file.fileno())


def complete(file: BinaryIO, lines_after: Callable[[int], Sequence[Line]]) -> None:
    """Append to the locked journal what only the database has; a torn last line is written again."""
    last, torn = _last_lines(file)
    newest = _line_of(last) if last else None
    _cut(file, torn)
    number = newest[1].number if newest else 0
    lines = lines_after(max(number - 1, 0))
    if newest:
        _refuse_unknown_line(newest, lines)
        lines = lines[1:]
    file.seek(0, os.SEEK_END)
    file.writelines(map(bytes_of_line, lines))


def refuse_foreign(path: Path, *, database: Path | None) -> None:
    """Raise an error, before a byte changes, where the journal's path is a file of another program.

    It is one where it is older than the database, which is written first; `database` None says that the
    database is about to be restored.
    """
    if not path.exists() or not (start := _first_bytes(path)):
        return
    if database and not (database.exists() and database.stat().st_size):
        raise InputError(
            f"{path} exists, but no database {database.name} beside it.",
            expected="A journal is never older than its store.",
            remedy="If it is a file of yours, keep decisions elsewhere: --store sqlite:///OTHER.sqlite. "
            "If it is the journal of a lost store, rebuild that: kiyome decisions restore RUN JOURNAL",
        )
    first, end, _ = start.partition(b"\n")
    if end:
        _line_of(first)
    elif not _begins_as_ours(first):
        raise _mismatch(f"The line {first[:60]!a} is not an event.")


def _first_bytes(path: Path) -> bytes:
    with open_regular(path) as file:
        return file.read(BLOCK)


def refuse_gaps(file: BinaryIO, number: int) -> None:
    """Raise an error where the journal has more or fewer lines than the store has events."""
    file.seek(0)
    lines = sum(block.count(b"\n") for block in iter(lambda: file.read(BLOCK), b""))
    if lines != number:
        raise _mismatch(f"The journal has {lines:,} lines for {number:,} events.")


def bytes_of_line(line: Line) -> bytes:
    """Return one line of the journal, in ASCII, so that no reader sees line ends where there are none."""
    review, event = line
    return json.dumps({"review": review, **vars(event)}).encode() + b"\n"


def read_journal(path: Path) -> list[Line]:
    """Return the events of a journal, each one checked; a last line that was cut off is left out."""
    if not path.is_file():
        raise InputError(f"There is no journal {path}.", remedy="Check the path.")
    whole, _, _torn = path.read_bytes().rpartition(b"\n")
    lines = [_line_of(raw) for raw in whole.split(b"\n")] if whole else []
    for number, (_, event) in enumerate(lines, start=1):
        if event.number != number:
            raise _mismatch(f"Line {number} of the journal holds event {event.number}.")
    for _, together in groupby(lines, key=lambda line: (line[0], line[1].batch)):
        _refuse_unsound([event for _, event in together])
    return lines


def _refuse_unsound(events: list[Event]) -> None:
    """Raise an error where events of one batch do not read back as the batch that was written."""
    first = events[0]
    try:
        same = Batch.of(events).events(number=first.number, decided_at=first.decided_at) == events
    except (InputError, TypeError, ValueError) as error:
        raise _mismatch(f"Line {first.number} of the journal is damaged: {error}") from error
    if not same:
        raise _mismatch(f"Line {first.number} of the journal belongs to a batch whose events differ.")


def _line_of(raw: bytes) -> Line:
    try:
        values: dict[str, Any] = json.loads(raw)
        review = values.pop("review")
        event = Event(**values)
        sound = isinstance(review, str) and type(event.number) is int and isinstance(event.decided_at, str)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _mismatch(f"The line {raw[:60]!a} is not an event.") from error
    if not sound:
        raise _mismatch(f"The line {raw[:60]!a} is not an event.")
    return review, event


def _last_lines(file: BinaryIO) -> tuple[bytes, bytes]:
    """Return the last whole line, without its end, and what a kill left of the line after it."""
    size = start = file.seek(0, os.SEEK_END)
    tail = b""
    while start > 0 and tail.count(b"\n") < 2:
        start = max(0, start - BLOCK)
        file.seek(start)
        tail = file.read(min(BLOCK, size - start - len(tail))) + tail
    whole, end, torn = tail.rpartition(b"\n")
    return whole.rpartition(b"\n")[2] if end else b"", torn


def _cut(file: BinaryIO, torn: bytes) -> None:
    """Remove the torn line from the file, if it is one of ours."""
    if not _begins_as_ours(torn):
        raise _mismatch(f"The last line {torn[:60]!a} is not an event.")
    if torn:
        file.truncate(file.seek(0, os.SEEK_END) - len(torn))


def _begins_as_ours(torn: bytes) -> bool:
    return torn.startswith(START) or START.startswith(torn)


def _refuse_unknown_line(newest: Line, lines: Sequence[Line]) -> None:
    if not lines or lines[0] != newest:
        raise _mismatch(f"Line {newest[1].number:,} of the journal is not in the database.")


def _mismatch(problem: str) -> StaleArtifact:
    return StaleArtifact(
        problem,
        expected="Expected the events of the database beside it, line by line.",
        remedy="If the database was lost or is an older copy, move it away and rebuild it: "
        "kiyome decisions restore RUN JOURNAL. If the journal was changed, "
        "move that away: it is written again.",
    )


def write_lines(file: BinaryIO, lines: Iterable[Line]) -> None:
    """Write a whole journal into an open file."""
    file.writelines(map(bytes_of_line, lines))
