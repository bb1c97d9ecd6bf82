"""Folders and files for their owner alone, or for one group of people, whatever the umask is.

A folder is 0700 and its files 0600; shared with a group, they are 2770 and 0660. The folder itself carries
the group: its setgid bit hands it to every file.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path

OWNER_FOLDER, OWNER_FILE = 0o700, 0o600
GROUP_FOLDER, GROUP_FILE = 0o2770, 0o660


def private_folder(path: str | Path) -> Path:
    """The folder, made if need be, closed to all but its owner, or its group where it is shared with one.

    A link stays as it is, and so does the folder of somebody else.

    >>> import tempfile
    >>> folder = private_folder(Path(tempfile.mkdtemp()) / "review")
    >>> oct(folder.stat().st_mode & 0o7777)
    '0o700'
    """
    path = Path(path)
    path.mkdir(mode=OWNER_FOLDER, exist_ok=True)
    if path.is_symlink():
        return path
    shared = _is_shared(path.stat().st_mode)
    _set_mode(path, GROUP_FOLDER if shared else OWNER_FOLDER)
    for inner in path.iterdir():
        if inner.is_file() and not inner.is_symlink():
            _set_mode(inner, GROUP_FILE if shared else OWNER_FILE)
    return path


def private_opener(path: str, flags: int) -> int:
    """An `opener` for `open`: a file that it makes has the mode that its folder asks for.

    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp()) / "note.txt"
    >>> with open(place, "x", opener=private_opener) as file:
    ...     oct(os.fstat(file.fileno()).st_mode & 0o777)
    '0o600'
    """
    handle = os.open(path, flags, OWNER_FILE)
    if _is_shared(Path(path).parent.stat().st_mode) and os.fstat(handle).st_uid == os.geteuid():
        os.fchmod(handle, GROUP_FILE)
    return handle


def _is_shared(mode: int) -> bool:
    return bool(mode & stat.S_ISGID and mode & stat.S_IWGRP)


def _set_mode(file: Path, mode: int) -> None:
    """Give a file of ours its mode; one that another process took away meanwhile needs none."""
    with suppress(FileNotFoundError):
        known = file.stat()
        if known.st_uid == os.geteuid() and stat.S_IMODE(known.st_mode) != mode:
            file.chmod(mode)
