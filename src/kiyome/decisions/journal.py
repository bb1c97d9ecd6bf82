"""The journal beside a SQLite store: the same events as lines of JSON, for the day the database is lost.

Line n is event n of the store. The database is written first and is the only truth; the journal is brought
up to it before an act is answered, and again when the store opens, so it is never ahead and rarely behind.
Who holds the journal's lock writes the store, so processes wait in line instead of polling a busy database.
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
"""How each line begins."""


@contextmanager
def held(path: Path) -> Iterator[BinaryIO]:
    """The journal, made if need be with its folder, while nobody else holds it; on the disk after the block.

    The lock dies with its owner. It is let go before the wait for the disk, so that the next one can write
    meanwhile and both wait together.
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
    """Bring the journal up to the database.

    Parameters
    ----------
    file : BinaryIO
        The journal, as `held` gives it. A last line that was cut off by a kill is written again.
    lines_after : callable
        The database's lines that follow a number.

    Raises
    ------
    StaleArtifact
        When the last line is not what the database has at its place.
    """
    last, torn = _last_lines(file)
    newest = _line_of(last) if last else None
    _cut(file, torn)
    number = newest[1].number if newest else 0
    lines = lines_after(max(number - 1, 0))
    if newest:
        _refuse_strange(newest, lines)
        lines = lines[1:]
    file.seek(0, os.SEEK_END)
    file.writelines(map(bytes_of_line, lines))


def refuse_foreign(path: Path, *, database: Path | None) -> None:
    """Refuse a file that lies where the journal belongs and is not ours, before a byte of it can change.

    Raises
    ------
    InputError
        When it is older than the database, which is written first. None: this is to be restored now.
    StaleArtifact
        When its first line is no event.
    """
    if not path.exists() or not (start := _first_bytes(path)):
        return
    if database and not (database.exists() and database.stat().st_size):
        raise InputError(
            f"{path} was there before the store that it would belong to.",
            came=f"no database {database.name} beside it",
            remedy="If it is your own file, keep decisions elsewhere: --store sqlite:///OTHER.sqlite. If it "
            "is the journal of a lost store, rebuild that: kiyome decisions RUN --restore JOURNAL",
        )
    first, end, _ = start.partition(b"\n")
    if end:
        _line_of(first)
    elif not _begins_as_ours(first):
        raise _strange(f"a line that is no event: {first[:60]!a}")


def _first_bytes(path: Path) -> bytes:
    with open_regular(path) as file:
        return file.read(BLOCK)


def refuse_gaps(file: BinaryIO, number: int) -> None:
    """Refuse a journal that has not as many lines as the store has events: a line was taken out or put in."""
    file.seek(0)
    lines = sum(block.count(b"\n") for block in iter(lambda: file.read(BLOCK), b""))
    if lines != number:
        raise _strange(f"{lines:,} lines for {number:,} events")


def bytes_of_line(line: Line) -> bytes:
    """One line of the journal, in ASCII, so that no reader sees line ends where there are none."""
    review, event = line
    return json.dumps({"review": review, **vars(event)}).encode() + b"\n"


def read_journal(path: Path) -> list[Line]:
    """The events that a journal holds, each one checked; a last line that was cut off is left out.

    Raises
    ------
    InputError
        When there is no such file.
    StaleArtifact
        Naming the first line that is not as it was written.
    """
    if not path.is_file():
        raise InputError(
            "A journal is a file of JSON lines.", came=f"no file {path}", remedy="Check the path."
        )
    whole, _, _torn = path.read_bytes().rpartition(b"\n")
    lines = [_line_of(raw) for raw in whole.split(b"\n")] if whole else []
    for place, (_, event) in enumerate(lines, start=1):
        if event.number != place:
            raise _strange(f"event {event.number} in line {place}")
    for _, together in groupby(lines, key=lambda line: (line[0], line[1].batch)):
        _refuse_unsound([event for _, event in together])
    return lines


def _refuse_unsound(events: list[Event]) -> None:
    """Events that were written together read back as the batch that they were."""
    first = events[0]
    try:
        same = Batch.of(events).events(number=first.number, decided_at=first.decided_at) == events
    except (InputError, TypeError, ValueError) as error:
        raise _strange(f"line {first.number}: {error}") from error
    if not same:
        raise _strange(f"line {first.number}: events of one act that differ")


def _line_of(raw: bytes) -> Line:
    try:
        values: dict[str, Any] = json.loads(raw)
        review = values.pop("review")
        event = Event(**values)
        sound = isinstance(review, str) and type(event.number) is int and isinstance(event.decided_at, str)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _strange(f"a line that is no event: {raw[:60]!a}") from error
    if not sound:
        raise _strange(f"a line that is no event: {raw[:60]!a}")
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
    """Take the torn line off the file, if it is one of ours."""
    if not _begins_as_ours(torn):
        raise _strange(f"a last line that is no event: {torn[:60]!a}")
    if torn:
        file.truncate(file.seek(0, os.SEEK_END) - len(torn))


def _begins_as_ours(torn: bytes) -> bool:
    return torn.startswith(START) or START.startswith(torn)


def _refuse_strange(newest: Line, lines: Sequence[Line]) -> None:
    if not lines or lines[0] != newest:
        raise _strange(f"line {newest[1].number:,}, which the database does not have")


def _strange(came: str) -> StaleArtifact:
    return StaleArtifact(
        "The journal of decisions holds the events of the database beside it, line by line.",
        came=came,
        remedy="Where the database was lost or is an older copy, move it away and rebuild it: "
        "kiyome decisions RUN --restore JOURNAL. Where the journal was changed, "
        "move that away: it is written again.",
    )


def write_lines(file: BinaryIO, lines: Iterable[Line]) -> None:
    """A whole journal in a file that is open for writing."""
    file.writelines(map(bytes_of_line, lines))
