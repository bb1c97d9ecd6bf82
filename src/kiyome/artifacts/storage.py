"""Files that are whole or absent, digests that show changes, and folders that are private.

A file is written beside its final path under a temporary name, flushed to the disk, and moved there by one
rename, so a kill at any instant leaves the old file whole or the new one (Pillai et al., OSDI 2014, show what
goes wrong without each of these steps).

A private folder is 0700 and its files 0600, whatever the umask; shared with a group, they are 2770 and 0660.
The setgid bit of the folder gives every file its group.
"""

import codecs
import csv
import errno
import fcntl
import grp
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from tempfile import gettempdir
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from kiyome.errors import InputError, KiyomeError, StaleArtifact

OWNER_FOLDER, OWNER_FILE = 0o700, 0o600
GROUP_FOLDER, GROUP_FILE = 0o2770, 0o660


def private_folder(path: str | Path, *, group: str | None = None) -> Path:
    """Return the folder, made if need be, closed to all but its owner, or the group that shares it.

    A folder that is a link or another user's is left unchanged. InputError for an unknown or foreign group.

    >>> import tempfile
    >>> folder = private_folder(Path(tempfile.mkdtemp()) / "review")
    >>> oct(folder.stat().st_mode & 0o7777)
    '0o700'
    """
    path = Path(path)
    path.mkdir(mode=OWNER_FOLDER, exist_ok=True)
    if path.is_symlink():
        return path
    gid = None if group is None else _gid_of(group, path)
    shared = gid is not None or _is_shared(path.stat().st_mode)
    inside = [each for each in path.iterdir() if each.is_file() and not each.is_symlink()]
    modes = {path: GROUP_FOLDER if shared else OWNER_FOLDER}
    modes |= dict.fromkeys(inside, GROUP_FILE if shared else OWNER_FILE)
    for each, mode in modes.items():
        with suppress(FileNotFoundError):  # another process took a file away meanwhile
            _set_rights(each, mode, gid)
    return path


def private_opener(path: str, flags: int) -> int:
    """Open a file; an `opener` for `open` that gives a new file the mode that its folder asks for.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "note.txt"
    >>> with open(path, "x", opener=private_opener) as file:
    ...     oct(os.fstat(file.fileno()).st_mode & 0o777)
    '0o600'
    """
    handle = os.open(path, flags, OWNER_FILE)
    if _is_shared(Path(path).parent.stat().st_mode) and os.fstat(handle).st_uid == os.geteuid():
        os.fchmod(handle, GROUP_FILE)
    return handle


def _is_shared(mode: int) -> bool:
    return bool(mode & stat.S_ISGID and mode & stat.S_IWGRP)


def _gid_of(group: str, folder: Path) -> int:
    try:
        gid = grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise InputError(
            f"There is no group {group!a} on this machine.",
            remedy="Name one of yours: the command 'groups' lists them.",
        ) from error
    owner = folder.stat().st_uid
    if owner != os.geteuid() or (gid not in (os.getegid(), *os.getgroups()) and os.geteuid() != 0):
        raise InputError(
            f"{folder} cannot be shared with the group {group!r} by this user.",
            expected="The owner of a folder can share it with one of their own groups.",
            remedy="Name a group that 'groups' lists, or ask the owner of the folder for --group.",
        )
    return gid


def _set_rights(path: Path, mode: int, gid: int | None) -> None:
    """Set the mode of a file of this user, and its group when the folder is newly shared."""
    known = path.stat()
    if known.st_uid != os.geteuid():
        return
    if gid is not None and known.st_gid != gid:
        os.chown(path, -1, gid)
        known = path.stat()  # the system may take the setgid bit away with it
    if stat.S_IMODE(known.st_mode) != mode:
        path.chmod(mode)


TEMPORARY_PREFIX, TEMPORARY_SUFFIX = ".kiyome-", ".tmp"


@contextmanager
def writing(path: str | Path, *, durable: bool = True, private: bool = False) -> Iterator[BinaryIO]:
    """Yield a binary file that appears at `path` when the block ends well, and vanishes when it does not.

    A link at `path` is replaced, not followed. `durable` waits for the disk, so that the file survives a
    power cut; without it the file survives kills only, which is enough for many small files that are verified
    when read. `private` limits access to the owner, or the folder's group. An OSError names `path` and
    changes nothing there.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with writing(folder / "note.txt") as file:
    ...     _ = file.write(b"whole")
    >>> [entry.name for entry in folder.iterdir()]
    ['note.txt']
    """
    path = Path(path)
    temporary = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
    try:
        with open(temporary, "xb", opener=private_opener if private else None) as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # `sweep` tells living writers from killed ones by it
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            number = error.errno or errno.ENOSPC  # numpy gives no number for a short write
            raise OSError(number, os.strerror(number), str(path)) from error
        raise
    if durable:
        sync_folder(path.parent)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    with writing(path) as file:
        file.write(content)


def write_text(path: str | Path, content: str) -> None:
    """Write `content` to `path` as UTF-8, whole or not at all; line ends stay as they are."""
    write_bytes(path, content.encode())


def write_csv(path: str | Path, rows: Iterable[Iterable[object]]) -> None:
    """Write rows of cells to `path` as in RFC 4180: UTF-8, lines end in CR LF, quotes where needed."""
    with writing(path) as file:
        csv.writer(codecs.getwriter("utf-8")(file)).writerows(rows)


def write_csv_columns(path: str | Path, columns: Mapping[str, Any]) -> None:
    """Write two or more columns to `path` like `write_csv`, byte for byte, ten times as fast.

    Each holds texts or None, or is an array of floats, whole numbers or booleans; NaN is an empty cell.
    """
    import pyarrow.compute as pc

    length = len(next(iter(columns.values())))
    with writing(path) as file:
        csv.writer(codecs.getwriter("utf-8")(file)).writerow(columns)
        for start in range(0, length, ROWS_AT_ONCE):
            cells = [_cells(column[start : start + ROWS_AT_ONCE]) for column in columns.values()]
            rows = pc.binary_join_element_wise(*cells, ",").to_pylist()
            file.write("".join(f"{row}\r\n" for row in rows).encode())


def _cells(values: Any) -> Any:
    """Return a part of a column as an Arrow array of cells, with quotation marks where one needs them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    array = np.asarray(values)
    if array.dtype == bool:
        return pa.array(np.where(array, "True", "False"))
    if array.dtype.kind in "iu":
        return pa.array(array).cast(pa.string())
    if array.dtype.kind == "f":
        size = np.abs(array)
        with np.errstate(invalid="ignore"):
            is_plain = (size > 2e-4) & (size < 1e5) & (array != np.floor(array))
        texts = ["" if np.isnan(number) else str(number) for number in array[~is_plain]]
        return pc.replace_with_mask(
            pa.array(array).cast(pa.string()), pa.array(~is_plain), pa.array(texts, pa.string())
        )
    cells = pa.array(values, pa.string()).fill_null("")
    needs_quotes = pc.match_substring_regex(cells, pattern='[",\r\n]')
    quoted = [f'"{text.replace(QUOTE, QUOTE + QUOTE)}"' for text in cells.filter(needs_quotes).to_pylist()]
    return pc.replace_with_mask(cells, needs_quotes, pa.array(quoted, pa.string()))


QUOTE = '"'
ROWS_AT_ONCE = 65_536


def write_parquet(
    path: str | Path, columns: dict[str, Any], metadata: dict[bytes, str] | None = None
) -> None:
    """Write columns to `path` as Parquet, with a checksum on every page."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = pa.table(columns).replace_schema_metadata(metadata)
    with writing(path) as file:
        pq.write_table(content, file, write_page_checksum=True)


def open_in_place(path: str | Path, *, private: bool = False) -> BinaryIO:
    """Return a file that grows in place, such as a lock or a log; InputError for a link, pipe or folder."""
    try:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        handle = _open_regular(path, flags, opener=private_opener if private else _usual_opener)
    except OSError as error:
        if error.errno not in NO_FILE_OF_OURS:
            raise
        raise InputError(
            f"{path} is a link, a pipe or a folder, not a plain file.",
            remedy="Move it away, and run the command again.",
        ) from error
    return os.fdopen(handle, "a+b")


def open_regular(path: str | Path) -> BinaryIO:
    """Return a plain file, or the target of a link, open for reading; OSError at once for a pipe."""
    return os.fdopen(_open_regular(path, os.O_RDONLY, opener=_usual_opener), "rb")


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Raise StaleArtifact for whatever the block raises while it parses a file of a run.

    A seal is no guarantee: whoever made a run can have sealed anything. KiyomeError and OSError pass
    unchanged.
    """
    try:
        yield
    except (KiyomeError, OSError):
        raise
    except Exception as error:  # on broken files the readers raise nearly everything
        raise StaleArtifact(
            f"{path} is not as kiyome writes it ({type(error).__name__}: {error}).",
            remedy="Run the command that made it again, or get another copy of the run.",
        ) from error


def map_array(path: str | Path) -> NDArray[Any]:
    """Return the array of a .npy file, memory-mapped read-only; ValueError for a broken or other file."""
    try:
        array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise
    except MemoryError:  # of the parser, on deeply nested headers; lack of memory is an OSError here
        raise ValueError("no whole .npy file of numbers (its header)") from None
    except Exception as error:  # on broken headers numpy raises nearly everything
        why = (str(error).splitlines() or ["its header"])[0]
        raise ValueError(f"no whole .npy file of numbers ({why})") from error
    return array


NO_FILE_OF_OURS = (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EMLINK)
"""Errors of the system for links, folders and pipes that are opened as plain files."""


def _usual_opener(path: str, flags: int) -> int:
    return os.open(path, flags, 0o666)


def _open_regular(path: str | Path, flags: int, *, opener: Callable[[str, int], int]) -> int:
    """Return a descriptor of a plain file; O_NONBLOCK, since a pipe would wait for its other end."""
    handle = opener(os.fspath(path), flags | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.ENXIO, "not a plain file", str(path))
    return handle


def sync_folder(folder: str | Path) -> None:
    """Wait until the names in `folder` are on the disk; a rename alone may be lost in a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(path: Path) -> None:
    """Make a folder and its parents, with their names on the disk when this returns."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_folder(folder.parent)


def is_temporary(path: str | Path) -> bool:
    """Whether `path` is named like a file that is being written; a kill leaves such files behind."""
    name = Path(path).name
    return name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX)


def digest_of_file(path: Path) -> str:
    """Return `sha256_of_file`, computed once a process while size, times and inode are unchanged."""
    status = path.stat()
    return _digest_of(path.absolute(), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@lru_cache(maxsize=4096)
def _digest_of(path: Path, *_status: int) -> str:
    return sha256_of_file(path)


def sweep(folder: str | Path) -> None:
    """Remove temporary files of killed writers from a user's folder; those of living ones stay."""
    for path in Path(folder).glob(f"{TEMPORARY_PREFIX}*{TEMPORARY_SUFFIX}"):
        with suppress(OSError), open_in_place(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


MACHINE_FAILURES = (errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ETIMEDOUT)


def is_machine_failure(error: BaseException | None) -> bool:
    """Whether memory ran out or a disk failed, here or in the cause: the file itself may be whole.

    >>> is_machine_failure(OSError(errno.EIO, "")), is_machine_failure(FileNotFoundError(errno.ENOENT, ""))
    (True, False)
    """
    if error is None:
        return False
    failed = isinstance(error, MemoryError) or getattr(error, "errno", None) in MACHINE_FAILURES
    return failed or is_machine_failure(error.__cause__)


def sha256_of_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, as 64 hexadecimal digits.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "empty"
    >>> write_bytes(path, b"")
    >>> sha256_of_file(path)[:12]
    'e3b0c44298fc'
    """
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def default_cache_folder() -> Path:
    """Return KIYOME_CACHE, else kiyome below XDG_CACHE_HOME or ~/.cache, else a private temporary folder."""
    if own := os.environ.get("KIYOME_CACHE"):
        return Path(own)
    return _cache_at_home() or _temporary_cache()


def cache_notes() -> tuple[str, ...]:
    """Return a note for people where the cache is a temporary folder; empty elsewhere."""
    if os.environ.get("KIYOME_CACHE") or _cache_at_home():
        return ()
    return (f"no home folder can be written, so the cache is {_temporary_cache()}; KIYOME_CACHE moves it",)


def _cache_at_home() -> Path | None:
    """Return the cache below the home folder; None where there is none that can be written."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kiyome"
    except RuntimeError:  # neither HOME nor an entry of this user
        return None
    nearest = next(each for each in (folder, *folder.parents) if each.exists())
    return folder if os.access(nearest, os.W_OK | os.X_OK) else None


def _temporary_cache() -> Path:
    try:
        return folder_of_this_user(Path(gettempdir()) / f"kiyome-{os.geteuid()}")
    except OSError as error:
        raise KiyomeError(
            f"Neither a home folder nor a temporary one can be written ({error}).",
            expected="Expected a folder for the cache.",
            remedy="Set KIYOME_CACHE to a folder that can be written.",
        ) from error


def folder_of_this_user(path: Path) -> Path:
    """Return a private folder, made if need be; KiyomeError for a link or the folder of another user.

    >>> import tempfile
    >>> folder = folder_of_this_user(Path(tempfile.mkdtemp()) / "cache")
    >>> oct(folder.stat().st_mode & 0o777)
    '0o700'
    """
    status = private_folder(path).lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise KiyomeError(
            f"{path} is a link, or belongs to another user.", remedy="Set KIYOME_CACHE to a folder of yours."
        )
    return path


@contextmanager
def cache_errors(folder: Path) -> Iterator[None]:
    """Turn OSErrors of a cache into one error that names the folder."""
    try:
        yield
    except OSError as error:
        raise KiyomeError(
            f"The cache folder {folder} cannot be read or written: {error}.",
            remedy="Free some space, set KIYOME_CACHE to another folder, or pass another cache_folder.",
        ) from error
