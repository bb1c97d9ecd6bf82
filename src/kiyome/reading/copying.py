"""Files copied into the cache: whole or not at all, never more than was promised or the disk can hold."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from kiyome.artifacts.storage import writing
from kiyome.errors import TableError
from kiyome.progress import Progress

MAX_MEMBER_BYTES = 256 * 2**20
"""Of one file: no photo that kiyome decodes is larger."""
RESERVE_BYTES = 2**30
"""Of the disk that stay free."""
COPY_BYTES = 2**20


class Member(NamedTuple):
    """A file in an archive or behind a URL."""

    name: str
    size: int | None
    """Bytes, as promised; None where the other side does not say."""
    open: Callable[[], IO[bytes]]


def check_space(promised: int, folder: Path, source: str) -> None:
    """Raise TableError unless the disk of the folder can hold so many bytes."""
    free = shutil.disk_usage(folder).free
    if promised > free - RESERVE_BYTES:
        raise TableError(
            f"{source} takes {_gigabytes(promised)}, and {_gigabytes(free)} are free in {folder.parent}.",
            remedy="Free some space, or set KIYOME_CACHE to a folder on a larger disk.",
        )


def copy_all(members: Sequence[Member], folder: Path, source: str, on_progress: Progress) -> list[Path]:
    """Write the members below the folder, once the disk can hold what they promise; return their paths."""
    check_space(sum(member.size or 0 for member in members), folder, source)
    paths = []
    for number, member in enumerate(members, start=1):
        path = folder / member.name
        if path.exists():  # two shards name their samples alike
            path = folder / PurePosixPath(source).stem / member.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with member.open() as content, writing(path, durable=False) as file:
            _copy(content, file, member, source)
        paths.append(path)
        on_progress("unpack", number, len(members))
    return paths


def _copy(content: IO[bytes], file: IO[bytes], member: Member, source: str) -> None:
    left = MAX_MEMBER_BYTES if member.size is None else member.size
    while piece := content.read(min(COPY_BYTES, left + 1)):
        left -= len(piece)
        if left < 0:
            raise TableError(
                f"{member.name!r} in {source} is larger than promised.",
                remedy="Fetch it again, or unpack it and give the folder.",
            )
        file.write(piece)


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB"


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A folder that appears whole when the block ends well, and not at all when it does not."""
    growing = folder.with_name(f"{folder.name}-growing")
    shutil.rmtree(growing, ignore_errors=True)
    growing.mkdir()
    try:
        yield growing
        growing.rename(folder)
    finally:
        shutil.rmtree(growing, ignore_errors=True)
